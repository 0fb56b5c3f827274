"""What looks wrong in events that were just ingested, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from recsys.config.units import written
from recsys.unlearned import REMEDY
from streaming.ingest.mapping.event_time import PLAUSIBLE

if TYPE_CHECKING:
    from recsys.config.schema import Config
    from streaming.ingest.label_tally import LabelTally
    from streaming.ingest.pipeline import Ingest

_YEAR: Final = 365 * 86_400_000


def doubts(ingest: Ingest, config: Config, now: int) -> Iterator[str]:
    """One warning for each thing that looks wrong in what `ingest` has done; `now` is in ms."""
    yield from _one_label(ingest.labels, config)
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


def _one_label(found: LabelTally, config: Config) -> Iterator[str]:
    """A warning if rows that say what became of shown items give them all the same label."""
    positive = config.training.positive
    done = [found.actions[action] for action in positive]
    labelled = any(name.startswith("actions.") for mapping in config.log.mapping for name in mapping.columns)
    compare = "compare positive_values and columns in [[log.mapping]], and positive in [training]"
    if labelled and found.shown and max(done) >= found.shown and config.training.min_value is None:
        yield (
            f"100 % of the {found.shown:,} shown items are positive, so that nothing can be learned about what to rank "
            f"first: {compare}; lists must also have the items that nobody acted on."
        )
    if labelled and found.shown and not any(done):
        seen = ", ".join(f"{action!r} ({count:,})" for action, count in found.actions.most_common(5)) or "none"
        yield (
            f"0 % of the {found.shown:,} shown items are positive: the actions that were ingested are {seen}, and what "
            f"counts is {', '.join(map(repr, positive))}: {compare}."
        )


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
