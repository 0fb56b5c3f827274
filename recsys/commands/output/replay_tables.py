"""The result of a replay as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys.evaluation.replay.replay_result import Orders, ReplayResult
from recsys.evaluation.replay.report.replay_report import (
    ORDER_COLUMNS,
    ORDERS_ABOUT,
    cells,
    columns,
    moment,
    order_cells,
)

HIDDEN = ("refreshes", "NE", "calibration", "known users", "known items")
"""The columns that are only in the documents. All others fit into 80 characters, those of new metrics too."""
CAPTION = """AUC, log loss: all rows. By interval: mean AUC of the arm's refresh intervals;
(frozen): of the frozen weights on these. Gain: mean over windows of equally
many rows of the AUC less frozen's; not the difference of AUCs of all rows."""


def tables(result: ReplayResult) -> Iterator[Table]:
    """One for each task; one task needs no name."""
    every = result.of_tasks()
    for task, one in every.items():
        yield table(one, f"Task {task}. " if len(every) > 1 else "")
    if result.orders is not msgspec.UNSET and result.orders.arms:
        yield orders_table(result.orders)


def table(result: ReplayResult, of: str = "") -> Table:
    """One line per arm."""
    title = f"{of}Online stage {moment(result.batch_until)} to {moment(result.until)} UTC"
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=CAPTION)
    drawn.caption_justify = "left"
    chosen = [k for k, (name, _) in enumerate(columns()) if name not in HIDDEN]
    for k in chosen:
        name, side = columns()[k]
        if side == "left":
            drawn.add_column(name, overflow="fold")  # the arm's name gives way, so that figures stay whole
        else:
            drawn.add_column(_narrow(name), justify="right", no_wrap=True)
    for arm in result.arms:
        texts = cells(arm)
        drawn.add_row(*(texts[k] for k in chosen))
    return drawn


def orders_table(orders: Orders) -> Table:
    """One line per arm and number of first positions."""
    title = f"Had the arms ordered the {orders.lists:,} lists that were drawn at random"
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=ORDERS_ABOUT)
    drawn.caption_justify = "left"
    for name, side in ORDER_COLUMNS:
        drawn.add_column(name, justify="left" if side == "left" else "right", overflow="fold")
    for one in orders.arms:
        drawn.add_row(*order_cells(one))
    return drawn


def _narrow(title: str) -> str:
    """On two lines."""
    return title.replace("frozen by interval", "(frozen)").replace(" ", "\n", 1)
