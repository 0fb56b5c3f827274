"""The result of a replay for people: a table for a document, and one HTML page that needs no network."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from recsys.evaluation.metrics import METRICS
from recsys.evaluation.replay.replay_result import ArmResult, Figure, Gain, OrderResult, Orders, ReplayResult
from recsys.off_policy.estimates import Estimate

if TYPE_CHECKING:
    from recsys.evaluation.replay.training_pass import ReplayProgress

BEFORE = (
    ("arm", "left"),
    ("refreshes", "right"),
    ("AUC", "right"),
    ("by interval", "right"),
    ("frozen by interval", "right"),
    ("gain [95 %]", "right"),
)
AFTER = (("known users", "right"), ("known items", "right"))
"""Columns and alignment, before and after those of the other registered metrics.

AUC is that of all rows together. `by interval` is the row-weighted mean over the arm's own refresh
intervals (Monolith's figure), `frozen by interval` that of the frozen weights over the same intervals. Gain is over the
frozen arm, by windows, with its paired bootstrap interval."""

ORDERS_ABOUT = """Clicks in the first positions of a list. Shown: by the log's own order. SNIPS and DR: estimates
of the arm's order, with intervals of 95 %. Effective: so many lists say as much."""


def columns() -> list[tuple[str, str]]:
    """Title and alignment of every column: `METRICS` as registered now."""
    return [*BEFORE, *((metric.title, "right") for name, metric in METRICS.items() if name != "auc"), *AFTER]


ORDER_COLUMNS = [("arm", "left"), *((name, "right") for name in ("first", "effective", "shown", "SNIPS", "DR", "gain"))]
"""Title and alignment of every column of the table of orders."""


def order_cells(one: OrderResult) -> list[str]:
    """The texts of one line, one per column."""
    start = [one.arm, str(one.top), f"{one.effective_lists:,.0f}", figure(one.logged.value)]
    if one.snips is None or one.dr is None or one.gain is None:
        return [*start, "-", "-", one.refused]
    return [*start, estimate(one.snips), estimate(one.dr), estimate(one.gain, "+")]


def estimate(found: Estimate, sign: str = "") -> str:
    """A figure with its interval.

    >>> estimate(Estimate(0.5, 0.4, 0.6))
    '0.5000 [0.4000, 0.6000]'
    """
    interval = "" if found.low is None or found.high is None else f" [{found.low:{sign}.4f}, {found.high:{sign}.4f}]"
    return f"{found.value:{sign}.4f}{interval}"


def write(result: ReplayResult, folder: Path) -> None:
    """`result.json`, `table.md`, `over_time.svg`, `by_interval.svg` and `report.html`, titled by the folder's name.

    All but `result.json` are of the first task. Any other has its own in the folder of its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_bytes(result.to_json())
    (_, first), *others = result.of_tasks().items()
    _write_task(first, folder)
    for task, one in others:
        _write_task(one, folder / task)


def _write_task(result: ReplayResult, folder: Path) -> None:
    from recsys.evaluation.replay.report import plots

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(markdown(result), "utf-8")
    (folder / "over_time.svg").write_text(plots.over_time(result), "utf-8")
    (folder / "by_interval.svg").write_text(plots.by_interval(result), "utf-8")
    (folder / "report.html").write_text(
        html(result, "Replay" if folder.name == "replay" else f"Replay: {folder.name}"), "utf-8"
    )


def markdown(result: ReplayResult) -> str:
    """The table for a document."""
    every = columns()
    head = f"| {' | '.join(name for name, _ in every)} |"
    rule = f"|{'|'.join('---' if side == 'left' else '---:' for _, side in every)}|"
    return "\n".join([head, rule, *(f"| {' | '.join(cells(arm))} |" for arm in result.arms)]) + "\n"


def html(result: ReplayResult, title: str = "Replay") -> str:
    """A self-contained page with plots. The same result gives the same bytes."""
    from recsys.evaluation.replay.report import plots

    drawings = {"over_time": plots.over_time(result), "by_interval": plots.by_interval(result)}
    drawings |= {"reliability": plots.reliability(result), "slices": plots.slices(result)}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"moment": moment, "figure": figure, "count": "{:,}".format}
    template = environment.from_string(files("recsys.evaluation.replay").joinpath("report.html.j2").read_text("utf-8"))
    rows = [(arm, cells(arm)) for arm in result.arms]
    return template.render(
        title=title,
        result=result,
        columns=columns(),
        rows=rows,
        plots=drawings,
        gain=gain,
        metrics=METRICS,
        orders=result.orders if isinstance(result.orders, Orders) and result.orders.arms else None,
        order_columns=ORDER_COLUMNS,
        order_cells=order_cells,
        orders_about=ORDERS_ABOUT,
    )


def moment(time: int) -> str:
    """An event time in UTC, to the minute.

    >>> moment(1507680000000)
    '2017-10-11 00:00'
    """
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M}"


def reached(progress: ReplayProgress) -> str:
    """How far a replay is, in words: scores are given to each shown item of the online stage, one for each arm."""
    return f"{moment(progress.time)}  {progress.trained:,} shown items learned, {progress.scored:,} scores given"


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


def cells(arm: ArmResult) -> list[str]:
    """The texts of one arm, one per column."""
    return [
        arm.name,
        f"{arm.refreshes:,}",
        figure(arm.all["auc"]),
        figure(arm.interval_auc),
        figure(arm.frozen_interval_auc),
        gain(arm.gains[0]) if arm.gains else "-",
        *(figure(arm.all.get(name), metric.digits) for name, metric in METRICS.items() if name != "auc"),
        _percent(arm.known_users),
        _percent(arm.known_items),
    ]


def _percent(share: Figure) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
