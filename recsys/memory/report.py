"""A study's result for people: a table for the terminal or a document, and the plot."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys.memory.result import MIB, Point, Result, mean
from recsys.replay.report import figure, gain, moment

COLUMNS = (
    "setting",
    "MiB at most",
    "MiB at the end",
    "ids",
    "evicted",
    "expired",
    "unadmitted",
    "refused",
    "AUC",
    "over unbounded [95 %]",
    "log loss",
    "seeds",
)
"""Ids, evicted and the rest are of all tables, at the end; `unadmitted` and `refused` count look-ups. The interval is
by windows of the online stage, see `recsys.replay.figures.gain`; AUC and log loss are means of the seeds."""
NARROW = ("setting", "MiB at most", "AUC", "over unbounded [95 %]")
"""The columns for a terminal 80 characters wide."""


def write(result: Result, folder: Path) -> None:
    """`result.json`, `table.md` and `auc_against_memory.svg`."""
    from recsys.memory import plot  # Matplotlib takes most of a second to import

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_bytes(result.to_json())
    (folder / "table.md").write_text(markdown(result), "utf-8")
    (folder / "auc_against_memory.svg").write_text(plot.auc_against_memory(result), "utf-8")


def table(result: Result) -> Table:
    """For a terminal: the columns that matter most."""
    title = f"Online stage {moment(result.batch_until)} to {moment(result.until)} UTC, synced every {result.sync}"
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=noise(result))
    drawn.caption_justify = "left"
    chosen = [COLUMNS.index(name) for name in NARROW]
    for k in chosen:
        drawn.add_column(COLUMNS[k], justify="right" if k else "left", overflow="fold")
    for point in result.points:
        cells = _cells(point)
        drawn.add_row(*(cells[k] for k in chosen))
    return drawn


def markdown(result: Result) -> str:
    """The whole table for a document."""
    rule = f"|---|{'---:|' * (len(COLUMNS) - 1)}"
    rows = [f"| {' | '.join(_cells(point))} |" for point in result.points]
    return "\n".join([f"| {' | '.join(COLUMNS)} |", rule, *rows, "", noise(result)]) + "\n"


def noise(result: Result) -> str:
    """How much AUC differs for no reason."""
    if result.chance is None:
        return "One seed each: how much AUC differs between seeds is unknown."
    return (
        f"Between seeds the AUC of a setting has a standard deviation of {figure(result.seed_deviation)}, and its "
        f"difference to the unbounded store's with the same seed {figure(result.gain_deviation)}: a mean difference "
        f"below {figure(result.chance)} may be chance."
    )


def _cells(point: Point) -> list[str]:
    def total(counter: str) -> str:
        return f"{mean([run.total(counter) for run in point.runs]) or 0:,.0f}"

    return [
        point.name,
        f"{point.most_bytes / MIB:.2f}",
        f"{(mean([run.bytes for run in point.runs]) or 0) / MIB:.2f}",
        *(total(counter) for counter in ("live", "evicted", "expired", "unadmitted", "refused")),
        figure(point.auc),
        gain(point.gain) if point.family else "-",
        figure(point.log_loss),
        f"{len(point.runs)}",
    ]
