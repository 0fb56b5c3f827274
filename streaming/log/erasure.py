"""The events of users in a log, and their removal.

A user's events are the impressions and updates that name the user, and the interactions with those impressions. An
erasure in every partition tells readers to forget what they know; what comes after it is of a new user of that name.
Where a log can be rewritten, the events before are replaced by erasures of nobody, which keep offsets and times: a
reader sees the same clock, and nothing else.

Shape suffixes: N events of a chunk.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streaming.events.columns import ERASURE, INTERACTION, kinds, times
from streaming.events.schema import EVENT_SCHEMA
from streaming.log.event_log import Chunk, EventLog, read_partitions, read_range
from streaming.log.files.rewriting import Change, Crash


@runtime_checkable
class RewritableLog(Protocol):
    """A log whose events can be replaced, each in its place."""

    def rewrite(self, change: Change, crash: Crash = ...) -> None: ...


@runtime_checkable
class RetainingLog(Protocol):
    """A log whose events go by themselves, and not before."""

    def retention(self) -> int | None:
        """How long (ms) events are kept after they were appended; None for ever."""
        ...


def append_erasures(log: EventLog, users: Sequence[str]) -> None:
    """Tell all readers to forget these users. Raises AppendError, and can then be repeated."""
    for partition in range(log.partitions):
        rows = [{"kind": ERASURE, "id": "", "time": _newest(log, partition), "user": user} for user in users]
        log.append(pa.RecordBatch.from_pylist(rows, EVENT_SCHEMA), partition)


class UserEvents:
    """The events of `users` that `log` has, in each partition those before the user's last erasure there, if any.

    With `returned` those after it, too.
    """

    def __init__(self, log: EventLog, users: Sequence[str], *, returned: bool = False) -> None:
        self._returned = returned
        self._log, self._users = log, tuple(dict.fromkeys(users))
        self._names = pa.array(self._users, pa.string())
        self._until: dict[tuple[int, str], int] = {}
        """The offset after the last erasure, by partition and user."""
        self._since = defaultdict[tuple[int, str], list[str]](list)
        """By partition and user, ids of impressions and updates after it."""
        self._user_of: dict[str, str] = {}
        """The user of each impression before it."""
        for chunk in chain.from_iterable(read_partitions(log)):
            self._see(chunk)
        for place, ids in self._since.items():
            if returned or place not in self._until:
                self._user_of |= dict.fromkeys(ids, place[1])
        self._impressions = pa.array(list(self._user_of), pa.string())

    @property
    def impressions(self) -> list[str]:
        """The ids of the users' impressions; those of updates may be among them."""
        return list(self._user_of)

    def is_erased(self, user: str) -> bool:
        """Whether the last that the log says of a user, in every partition, is an erasure."""
        places = [(partition, user) for partition in range(self._log.partitions)]
        return all(place in self._until and not self._since.get(place) for place in places)

    def count(self) -> dict[str, int]:
        """How many events of each user there are."""
        found = Counter(
            user for chunk in chain.from_iterable(read_partitions(self._log)) for _, user in self._own(chunk)
        )
        return {user: found[user] for user in self._users}

    def remove(self, log: RewritableLog, crash: Crash = lambda _point: None) -> None:
        """Replace the events by erasures of nobody in `log`, the same log. Raises LogError, and can be repeated then.

        `crash` is called at each point at which a test may kill.
        """
        log.rewrite(self._without, crash)

    def _see(self, chunk: Chunk) -> None:
        named = pc.is_in(chunk.events.column("user"), self._names)
        places = np.flatnonzero(named.to_numpy(zero_copy_only=False))
        events = chunk.events.take(pa.array(places))
        columns = (events.column(name).to_pylist() for name in ("kind", "id", "user"))
        for offset, kind, id_, user in zip(chunk.next_offsets_N[places].tolist(), *columns, strict=True):
            place = chunk.partition, user
            if kind == ERASURE:
                self._until[place] = offset
                self._user_of |= dict.fromkeys(self._since.pop(place, ()), user)
            else:
                self._since[place].append(id_)

    def _own(self, chunk: Chunk) -> Iterator[tuple[int, str]]:
        """The numbers of their events in the chunk, and whose each is."""
        events, kinds_N = chunk.events, kinds(chunk.events)
        named = pc.is_in(events.column("user"), self._names).to_numpy(zero_copy_only=False)
        joined = pc.is_in(events.column("impression"), self._impressions).to_numpy(zero_copy_only=False)
        places = np.flatnonzero((named & (kinds_N != ERASURE)) | (joined & (kinds_N == INTERACTION)))
        chosen = events.take(pa.array(places))
        columns = (chosen.column(name).to_pylist() for name in ("user", "impression"))
        for place, offset, user, impression in zip(
            places.tolist(), chunk.next_offsets_N[places].tolist(), *columns, strict=True
        ):
            if user is None:
                yield place, self._user_of[impression]
            elif self._returned or offset <= self._until.get((chunk.partition, user), sys.maxsize):
                yield place, user

    def _without(self, chunk: Chunk) -> pa.RecordBatch:
        """The events of a chunk with erasures of nobody in the places of theirs."""
        events = chunk.events
        gone_N = np.zeros(events.num_rows, np.bool_)
        gone_N[[place for place, _ in self._own(chunk)]] = True
        if not gone_N.any():
            return events
        kept = events.take(pa.array(np.arange(len(gone_N)), mask=gone_N))
        columns = {name: kept.column(name) for name in events.schema.names}
        columns["kind"] = pa.array(np.where(gone_N, ERASURE, kinds(events)).astype(np.uint8))
        columns["id"] = pc.fill_null(columns["id"], "")
        columns["time"] = events.column("time")
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=events.schema)


def _newest(log: EventLog, partition: int) -> int:
    """The time of the newest of the last events of a partition; 0 of an empty one."""
    chunks = read_range(log, partition, log.tail(1)[partition], log.end()[partition])
    return max((int(times(chunk.events).max()) for chunk in chunks), default=0)
