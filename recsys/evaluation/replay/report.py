"""A replay's result for people: a table for the terminal or a document, and one HTML page that needs no network."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import jinja2
from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys.evaluation.metrics import METRICS
from recsys.evaluation.replay.result import ArmResult, Figure, Gain, Result

BEFORE = (
    ("arm", "left"),
    ("syncs", "right"),
    ("AUC", "right"),
    ("by sync", "right"),
    ("frozen by sync", "right"),
    ("gain [95 %]", "right"),
)
AFTER = (("known users", "right"), ("known items", "right"))
"""Columns and alignment, before and after those of the other registered metrics.

AUC is that of all rows together. `by sync` is the row-weighted mean over the arm's own sync
intervals (Monolith's figure), `frozen by sync` that of the frozen weights over the same intervals. Gain is over the
frozen arm, by windows, with its paired bootstrap interval."""


NARROW = ("arm", "AUC", "log loss", "by sync", "frozen by sync", "gain [95 %]")
"""The columns for a terminal 80 characters wide."""
CAPTION = """AUC, log loss: of all rows. By sync: mean AUC of the arm's sync intervals, and
(frozen) that of the frozen weights on them. Gain: over frozen, by windows."""


def columns() -> list[tuple[str, str]]:
    """Title and alignment of every column: `METRICS` as registered now."""
    return [*BEFORE, *((metric.title, "right") for name, metric in METRICS.items() if name != "auc"), *AFTER]


def write(result: Result, folder: Path) -> None:
    """`result.json`, `table.md`, `over_time.svg`, `by_sync.svg` and `report.html`, titled by the folder's name."""
    from recsys.evaluation.replay import plots  # Matplotlib takes most of a second to import

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_bytes(result.to_json())
    (folder / "table.md").write_text(markdown(result), "utf-8")
    (folder / "over_time.svg").write_text(plots.over_time(result), "utf-8")
    (folder / "by_sync.svg").write_text(plots.by_sync(result), "utf-8")
    (folder / "report.html").write_text(
        html(result, "Replay" if folder.name == "replay" else f"Replay: {folder.name}"), "utf-8"
    )


def table(result: Result) -> Table:
    """For a terminal: the columns that matter most."""
    title = f"Online stage {moment(result.batch_until)} to {moment(result.until)} UTC"
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=CAPTION)
    drawn.caption_justify = "left"
    every = columns()
    chosen = [k for k, (name, _) in enumerate(every) if name in NARROW]
    for k in chosen:
        title = every[k][0].replace("frozen by sync", "(frozen)")
        if every[k][1] == "left":
            drawn.add_column(title, overflow="fold")  # the arm's name gives way, so that figures stay whole
        else:
            drawn.add_column(title, justify="right", no_wrap=True)
    for arm in result.arms:
        cells = _cells(arm)
        drawn.add_row(*(cells[k] for k in chosen))
    return drawn


def markdown(result: Result) -> str:
    """The same table for a document."""
    every = columns()
    head = f"| {' | '.join(name for name, _ in every)} |"
    rule = f"|{'|'.join('---' if side == 'left' else '---:' for _, side in every)}|"
    return "\n".join([head, rule, *(f"| {' | '.join(_cells(arm))} |" for arm in result.arms)]) + "\n"


def html(result: Result, title: str = "Replay") -> str:
    """A self-contained page with plots. The same result gives the same bytes."""
    from recsys.evaluation.replay import plots

    drawings = {"over_time": plots.over_time(result), "by_sync": plots.by_sync(result)}
    drawings |= {"reliability": plots.reliability(result), "slices": plots.slices(result)}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"moment": moment, "figure": figure, "count": "{:,}".format}
    template = environment.from_string(files("recsys.evaluation.replay").joinpath("report.html.j2").read_text("utf-8"))
    rows = [(arm, _cells(arm)) for arm in result.arms]
    return template.render(
        title=title, result=result, columns=columns(), rows=rows, plots=drawings, gain=gain, metrics=METRICS
    )


def moment(time: int) -> str:
    """An event time in UTC, to the minute.

    >>> moment(1507680000000)
    '2017-10-11 00:00'
    """
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M}"


def figure(value: Figure, digits: int = 4) -> str:
    """A figure as text; a dash where it is undefined.

    >>> figure(0.5), figure(None)
    ('0.5000', '-')
    """
    return "-" if value is None else f"{value:.{digits}f}"


def gain(found: Gain) -> str:
    """A difference with its interval.

    >>> gain(Gain("frozen", 0.01, 0.005, 0.015))
    '+0.0100 [+0.0050, +0.0150]'
    """
    if found.auc is None:
        return "-"
    interval = "" if found.low is None or found.high is None else f" [{found.low:+.4f}, {found.high:+.4f}]"
    return f"{found.auc:+.4f}{interval}"


def _cells(arm: ArmResult) -> list[str]:
    return [
        arm.name,
        f"{arm.syncs:,}",
        figure(arm.all["auc"]),
        figure(arm.shard_auc),
        figure(arm.frozen_shard_auc),
        gain(arm.gains[0]) if arm.gains else "-",
        *(figure(arm.all.get(name), metric.digits) for name, metric in METRICS.items() if name != "auc"),
        _percent(arm.known_users),
        _percent(arm.known_items),
    ]


def _percent(share: Figure) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
