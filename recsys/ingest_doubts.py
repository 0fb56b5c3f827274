"""What looks wrong in events that were just ingested, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from recsys.config.units import written
from recsys.unlearned import REMEDY
from streaming.ingest.mapping.event_time import PLAUSIBLE

if TYPE_CHECKING:
    from streaming.ingest.pipeline import Ingest

_YEAR: Final = 365 * 86_400_000


def doubts(ingest: Ingest, now: int) -> Iterator[str]:
    """One warning for each thing that looks wrong in what `ingest` has done; `now` is in ms."""
    if ingest.span is not None:
        yield from doubtful_times(*ingest.span, now)
    if ingest.clashes:
        yield (
            f"{ingest.clashes:,} records have the id of an event in the log, and other content. If the same rows were "
            "ingested before, by another mapping (such as another time_unit), what the log has of them is wrong and "
            "stays: name new folders in [log] url and [training] checkpoints, and ingest again."
        )
    if late := ingest.late_events.count:
        slack = written(ingest.late_events.slack)
        yield f"{late:,} events came more than {slack} after newer ones; the joiner cannot use them: {REMEDY}."


def doubtful_times(oldest: int, newest: int, now: int) -> Iterator[str]:
    """What looks wrong in the span of event times (ms).

    >>> list(doubtful_times(1_600_000_000, 1_600_000_060, 1_700_000_000_000))[0].partition(":")[0]
    'Some times are in 1970, as seconds look when they are read as milliseconds'
    """
    if oldest < PLAUSIBLE:
        wrong = "in 1970, as seconds look when they are read as milliseconds" if oldest < _YEAR else "before 1990"
        yield f"Some times are {wrong}: compare time_unit in [[log.mapping]] with the data."
    if newest > now:
        yield "Some times are after the clock of this machine."
