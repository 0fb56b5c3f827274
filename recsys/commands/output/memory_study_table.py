"""The result of a memory study as a table for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys.evaluation.memory_study.study_report import COLUMNS, cells, noise
from recsys.evaluation.memory_study.study_result import StudyResult
from recsys.evaluation.replay.report.replay_report import moment

NARROW = ("setting", "MiB at most", "AUC", "over unbounded [95 %]")
"""The columns for a terminal 80 characters wide."""


def table(result: StudyResult) -> Table:
    """One line per setting."""
    span = f"{moment(result.batch_until)} to {moment(result.until)} UTC"
    title = f"Online stage {span}, weights refreshed every {result.refresh}"
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=noise(result))
    drawn.caption_justify = "left"
    chosen = [COLUMNS.index(name) for name in NARROW]
    for k in chosen:
        drawn.add_column(COLUMNS[k], justify="right" if k else "left", overflow="fold")
    for point in result.points:
        texts = cells(point)
        drawn.add_row(*(texts[k] for k in chosen))
    return drawn
