"""What a user was shown and did recently, by the event log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from streaming.events.columns import ERASURE, IMPRESSION, INTERACTION, USER
from streaming.log.event_log import EventLog, read_range

_COLUMNS: Final = ["kind", "id", "time", "user", "item", "impression", "action", "items", "arm"]
LOOKED_AT: Final = 100_000
"""Events at the end of each partition."""


class Happened(NamedTuple):
    time: int
    """Event time in ms."""
    what: str
    """An action, `shown`, or `features`."""
    items: str
    arm: str


class UserHistory:
    """Looks through the last events of the log; of one that is erased, through those after that."""

    def __init__(self, log: EventLog, looked_at: int = LOOKED_AT) -> None:
        self._log, self._looked_at = log, looked_at

    def latest(self, user: str, most: int = 30) -> list[Happened]:
        """The latest first. Raises what the log does when it cannot be read."""
        found: list[Happened] = []
        for partition, (begin, end) in enumerate(zip(self._log.tail(self._looked_at), self._log.end(), strict=True)):
            found += self._of_partition(user, partition, begin, end)
        return sorted(found, key=lambda one: -one.time)[:most]

    def _of_partition(self, user: str, partition: int, begin: int, end: int) -> list[Happened]:
        found: list[Happened] = []
        impressions: set[str] = set()
        for chunk in read_range(self._log, partition, begin, end):
            for event in _chosen(chunk.events, user, impressions):
                if event["kind"] == ERASURE:
                    found, impressions = [], set()
                elif event["kind"] == IMPRESSION:
                    impressions.add(event["id"])
                    found.append(Happened(event["time"], "shown", ", ".join(event["items"]), event["arm"] or "-"))
                elif event["kind"] == USER:
                    found.append(Happened(event["time"], "features", "-", "-"))
                elif event["kind"] == INTERACTION and event["impression"] in impressions:
                    found.append(Happened(event["time"], event["action"], event["item"], "-"))
        return found


def _chosen(events: pa.RecordBatch, user: str, impressions: set[str]) -> Iterator[dict[str, Any]]:
    """Those of the user, and the interactions that may be on the user's impressions: the known ones, and these."""
    kinds, own = events.column("kind"), pc.fill_null(pc.equal(events.column("user"), user), False)
    shown = events.filter(pc.and_(own, pc.equal(kinds, IMPRESSION))).column("id").to_pylist()
    names = pa.array([*impressions, *shown], pa.string())
    acted = pc.and_(pc.equal(kinds, INTERACTION), pc.is_in(events.column("impression"), names))
    yield from events.filter(pc.or_(own, acted)).select(_COLUMNS).to_pylist()
