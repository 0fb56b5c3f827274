"""Globo's lists of two articles, with what came of the clicks: whether the reader came back on the next day.

Shape suffixes: C clicks.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from recsys.datasets.event_batches import Ints, in_time_order, strings, table
from recsys.datasets.globo import globo
from streaming.events.columns import KINDS

DAY = 86_400_000
RETURN = "return"
"""The action of a reader who comes back: on the article that was clicked, at the first click of the next day."""


def globo_returns(path: Path | str, start: date, end: date, seed: int = 0, one_in: int = 1) -> pa.Table:
    """Lists from `start` to before `end` (days in UTC) as `globo` has them, clicks, and returns until a day later.

    Of one reader in so many. A return is a fact of all clicks of the file, also of those that no list has.
    """
    clicks = pa.parquet.read_table(path, columns=["click_timestamp", "user_id"])
    times, users = (clicks[name].to_numpy() for name in ("click_timestamp", "user_id"))
    events = pa.Table.from_batches(list(globo(path, seed, start, end)))
    events = events.filter(pa.array(users[_rows(events)] % one_in == 0))
    clicked = events.filter(pc.equal(events["kind"], KINDS.index("interaction")))
    rows = _rows(clicked)
    back = next_day(times, users)[rows]
    came = np.flatnonzero(back >= 0)
    lists = clicked.take(pa.array(came))
    returns = table(
        "interaction",
        id=strings(rows[came], "r"),
        time=back[came],
        impression=lists["impression"],
        item=lists["item"],
        action=RETURN,
        value=np.ones(len(came)),
    )
    return in_time_order(events, returns)


def _rows(events: pa.Table) -> Ints:
    """The rows of the file that `globo` made the events of."""
    rows: Ints = pc.utf8_slice_codeunits(events["id"], 1).cast(pa.int64()).to_numpy()
    return rows


def next_day(times_C: Ints, users_C: Ints) -> Ints:
    """When the user of each click (ascending in time, ms) clicks first on the next day (UTC), [C]; -1 if never.

    >>> next_day(np.array([0, DAY - 1, DAY + 5, DAY + 9]), np.array([7, 8, 7, 7]))
    array([86400005,       -1,       -1,       -1])
    """
    days_C = times_C // DAY
    span = int(days_C.max(initial=0)) + 2
    keys, firsts = np.unique(users_C.astype(np.int64) * span + days_C, return_index=True)
    wanted_C = users_C.astype(np.int64) * span + days_C + 1
    at_C = np.minimum(np.searchsorted(keys, wanted_C), len(keys) - 1)
    return np.where(keys[at_C] == wanted_C, times_C[firsts[at_C]], -1)
