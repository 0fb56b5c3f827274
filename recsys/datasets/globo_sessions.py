"""Clicks on Globo.com news in the order of time, each with those that the user made before.

Shape suffixes: P clicks, Q chosen clicks, H earlier clicks, I articles.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from recsys.datasets.event_batches import Ints
from recsys.datasets.globo import CONTEXT, millis

COLUMNS = ("click_timestamp", "user_id", "click_article_id", "session_id")


@dataclass(frozen=True, slots=True)
class Clicks:
    """Columns of clicks, ascending in time (ms); `items_P` are numbers below `items`."""

    times_P: Ints
    items_P: Ints
    sessions_P: Ints
    previous_P: Ints
    """The user's click before, -1 for the first one."""
    context: dict[str, Ints]
    """What was known of each request, by feature."""

    @property
    def items(self) -> int:
        return int(self.items_P.max()) + 1

    def births(self) -> Ints:
        """The time [I] of each article's first click: the log does not know when it was published."""
        return self.times_P[np.unique(self.items_P, return_index=True)[1]]

    @property
    def rows(self) -> Ints:
        """The clicks that follow another one of their session: what comes next is asked of these."""
        before_P = self.previous_P
        return np.flatnonzero((before_P >= 0) & (self.sessions_P[before_P] == self.sessions_P))

    def before(self, rows_Q: Ints, count: int) -> Ints:
        """The user's last clicks [Q, H] before these, the latest first; -1 where there are fewer than `count`.

        >>> clicks = Clicks(np.arange(3), np.arange(3), np.zeros(3), np.array([-1, 0, 1]), {})
        >>> clicks.before(np.array([2, 0]), 2).tolist()
        [[1, 0], [-1, -1]]
        """
        found_QH = np.full((len(rows_Q), count), -1, np.int64)
        at_Q = rows_Q
        for column in range(count):
            at_Q = np.where(at_Q >= 0, self.previous_P[at_Q], -1)
            found_QH[:, column] = at_Q
        return found_QH

    def until(self, time: int) -> int:
        """How many clicks were before this time, in ms."""
        return int(np.searchsorted(self.times_P, time))


def globo_sessions(path: Path | str, start: date | None = None, end: date | None = None) -> Clicks:
    """The clicks from `start` to before `end` (days in UTC). Raises OSError, KeyError or ArrowException for others."""
    columns = [*COLUMNS, *CONTEXT.values()]
    read = pa.parquet.read_table(path, columns=columns)
    named = {name: read[name].to_numpy().astype(np.int64) for name in columns}
    order = np.argsort(named["click_timestamp"], kind="stable")
    times = named["click_timestamp"][order]
    first, last = np.searchsorted(times, [millis(start, 0), millis(end, 1 << 62)])
    kept = {name: values[order[first:last]] for name, values in named.items()}
    return Clicks(
        times_P=kept["click_timestamp"],
        items_P=np.unique(kept["click_article_id"], return_inverse=True)[1],
        sessions_P=np.unique(kept["session_id"], return_inverse=True)[1],
        previous_P=_previous(kept["user_id"]),
        context={name: kept[column] for name, column in CONTEXT.items()},
    )


def _previous(users_P: Ints) -> Ints:
    order = np.argsort(users_P, kind="stable")
    same = users_P[order[1:]] == users_P[order[:-1]]
    previous_P = np.full(len(users_P), -1)
    previous_P[order[1:]] = np.where(same, order[:-1], -1)
    return previous_P
