"""Impressions and what users did with them, joined in event time.

The clock is the largest event time seen; the watermark is the clock less `lateness`. An impression waits for
interactions up to and including its time + `wait`; when the watermark passes that moment its window closes. What comes
out depends on the sequence of events alone: not on how it is cut into batches, nor on where state is saved.
"""

from __future__ import annotations

import math
from functools import cache

import msgspec
import pyarrow as pa

from recsys.errors import InvalidValueError, StateError
from streaming.events.columns import IMPRESSION, INTERACTION, kinds, times
from streaming.join.early_interactions import EarlyInteractions
from streaming.join.event_rows import InteractionRow, impressions, interactions
from streaming.join.labeled_impression import LabeledImpression, LabelRule
from streaming.join.open_impression import OpenImpression
from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.recently_closed import RecentlyClosed
from streaming.join.window_queue import Entry, WindowQueue

__all__ = ["OUTCOMES", "TALLIES", "Joiner", "LabelRule", "LabeledImpression"]

MAX_PENDING = 200_000
"""Most impressions that are open at once."""


class _State(msgspec.Struct):
    """`waiting`: (number, impression); `held`: by number; `closed`: id and when to forget it, oldest first."""

    clock: int
    sequence: int
    counts: dict[str, int]
    tallies: dict[str, int]
    waiting: list[tuple[int, OpenImpression]]
    held: list[tuple[int, InteractionRow]]
    closed: list[tuple[str, int]]


class Joiner:
    """Labels the positions of impressions: a deciding interaction at once, all others when the window closes.

    At most `max_pending` impressions wait (beyond that the oldest closes early, and is counted) and as many
    interactions are held for an impression that is yet to come. Ids of closed impressions are remembered for `memory`
    of event time, `max_pending` of them at most, so that late interactions differ from unmatched ones, and duplicate
    impressions from new ones. All durations are in ms of event time.
    """

    def __init__(
        self, rule: LabelRule, wait: int, lateness: int, max_pending: int = MAX_PENDING, memory: int = 3_600_000
    ) -> None:
        for name, value, least in (("wait", wait, 0), ("lateness", lateness, 0), ("max_pending", max_pending, 1)):
            if value < least:
                raise InvalidValueError(f"{name} is {value}; it must be at least {least}")
        self.rule, self.wait, self.lateness = rule, wait, lateness
        self._max_pending, self._memory = max_pending, memory
        self._clock = self._sequence = 0
        self._counts = dict.fromkeys(OUTCOMES, 0)
        self._tallies = dict.fromkeys(TALLIES, 0)
        self._open: dict[str, OpenImpression] = {}
        self._waiting = WindowQueue()
        self._held = EarlyInteractions(max_pending)
        self._closed = RecentlyClosed(max_pending)
        self._out: list[LabeledImpression] = []

    @property
    def counts(self) -> dict[str, int]:
        """Events by outcome (see `OUTCOMES`); the sum is the number of events pushed."""
        return {**self._counts, "held": len(self._held)}

    @property
    def tallies(self) -> dict[str, int]:
        """Labels by value, and windows by how they closed. The first two add up to the positions emitted."""
        return dict(self._tallies)

    @property
    def pending(self) -> int:
        """Impressions whose window is open."""
        return len(self._open)

    @property
    def sequence(self) -> int:
        """Events pushed so far."""
        return self._sequence

    @property
    def watermark(self) -> int:
        """No window that ends before this event time is open."""
        return self._clock - self.lateness

    def push(self, events: pa.RecordBatch) -> list[LabeledImpression]:
        """Take events (`EVENT_SCHEMA`); returns the labels they decided, in the order in which they became known."""
        shown, acted = impressions(events), interactions(events)
        for kind, time in zip(kinds(events).tolist(), times(events).tolist(), strict=True):
            self._advance(time)
            if kind == INTERACTION:
                self._act(next(acted))
            elif kind == IMPRESSION:
                self._show(next(shown))
            else:
                self._counts["updates"] += 1
        return self._take_out()

    def skip(self, events: pa.RecordBatch) -> list[LabeledImpression]:
        """Take only the times of events, which another joiner joins: windows close as if they were joined here."""
        for time in times(events).tolist():
            self._advance(time)
        self._counts["elsewhere"] += events.num_rows
        return self._take_out()

    def flush(self) -> list[LabeledImpression]:
        """End of a finite log: every window closes, every held interaction is unmatched."""
        while (oldest := self._waiting.pop_before(math.inf)) is not None:
            self._close(oldest)
        self._counts["unmatched"] += self._held.clear()
        return self._take_out()

    def state(self) -> bytes:
        """All that the future depends on, but not the settings."""
        waiting = [(number, self._open[id_]) for _, number, id_ in self._waiting]
        held, closed = self._held.dump(), self._closed.dump()
        state = _State(self._clock, self._sequence, self._counts, self._tallies, waiting, held, closed)
        return msgspec.msgpack.encode(state)

    def restore(self, state: bytes) -> None:
        """Restore the state returned by `state()`. Raises StateError when it is not a joiner's."""
        try:
            loaded = msgspec.msgpack.decode(state, type=_State)
        except msgspec.DecodeError as error:
            raise StateError(f"not a joiner's state: {error}") from error
        self._clock, self._sequence = loaded.clock, loaded.sequence
        self._counts, self._tallies = loaded.counts, loaded.tallies
        self._open = {shown.id: shown for _, shown in loaded.waiting}
        self._waiting = WindowQueue()
        for number, shown in loaded.waiting:
            self._waiting.push((shown.time, number, shown.id))
        self._held.load(loaded.held)
        self._closed.load(loaded.closed)

    def _advance(self, time: int) -> None:
        """The next event has this time."""
        self._sequence += 1
        if time > self._clock:
            self._clock = time
            self._pass(time - self.lateness)

    def _pass(self, watermark: int) -> None:
        while (oldest := self._waiting.pop_before(watermark - self.wait)) is not None:
            self._close(oldest)
        if self._held.by_impression:
            self._counts["unmatched"] += self._held.expire(watermark)

    def _show(self, shown: OpenImpression) -> None:
        id_ = shown.id
        if id_ in self._open or id_ in self._closed.ids:
            self._counts["duplicate_impressions"] += 1
        elif shown.time + self.wait < self._clock - self.lateness:
            self._counts["late_impressions"] += 1
            self._counts["late"] += len(self._held.take(id_))
            self._closed.add(id_, self._clock + self._memory, self.watermark)
        else:
            self._counts["impressions"] += 1
            self._open[id_] = shown
            self._waiting.push((shown.time, self._sequence, id_))
            if id_ in self._held.by_impression:
                self._decide_held(shown, self._held.take(id_))
            while len(self._open) > self._max_pending and (oldest := self._waiting.pop_before(math.inf)):
                self._close(oldest, early=True)

    def _act(self, acted: InteractionRow) -> None:
        if acted.action not in self.rule.actions:
            self._counts["ignored"] += 1
        elif (shown := self._open.get(acted.impression)) is not None:
            self._decide(shown, acted)
        elif acted.impression in self._closed.ids:
            self._counts["late"] += 1
        elif acted.time < self.watermark:
            self._counts["unmatched"] += 1
        else:
            self._counts["unmatched"] += self._held.add(self._sequence, acted)

    def _decide(self, shown: OpenImpression, acted: InteractionRow) -> None:
        position = self._position(shown, acted)
        if position >= 0:
            self._emit(shown, (position,), (self._label(acted),), self._clock)

    def _decide_held(self, shown: OpenImpression, held: list[InteractionRow]) -> None:
        """Interactions that came before the impression decide all their labels at once."""
        labels = {}
        for acted in held:
            position = self._position(shown, acted)
            if position >= 0:
                labels[position] = self._label(acted)
        if labels:
            self._emit(shown, tuple(labels), tuple(labels.values()), self._clock)

    def _label(self, acted: InteractionRow) -> float:
        label = self.rule.label(acted.value)
        self._tallies["positives" if label else "negatives"] += 1
        return label

    def _position(self, shown: OpenImpression, acted: InteractionRow) -> int:
        """The position whose label `acted` decides, or -1; counts its outcome.

        A duplicate item gets its label at the first position, because an interaction names no position.
        """
        if acted.time > shown.time + self.wait:
            self._counts["late"] += 1
            return -1
        try:
            position = shown.items.index(acted.item)
        except ValueError:
            self._counts["unknown_items"] += 1
            return -1
        if shown.decided is None:
            shown.decided = {position: acted.action}
        elif position in shown.decided:
            same = shown.decided[position] == acted.action
            self._counts["duplicates" if same else "duplicate_labels"] += 1
            return -1
        else:
            shown.decided[position] = acted.action
        self._counts["joined"] += 1
        return position

    def _close(self, oldest: Entry, early: bool = False) -> None:
        """Close the oldest window: labels that no interaction decided are negative.

        They become known when the watermark passes the end of the window; if it closes `early`, now.
        """
        time, _, id_ = oldest
        shown = self._open.pop(id_)
        end = time + self.wait
        self._closed.add(id_, max(end, self._clock) + self._memory, self._clock - self.lateness)
        self._tallies["closed_early" if early else "closed"] += 1
        positions, labels = _all_negative(len(shown.items))
        if shown.decided is not None:
            for position in sorted(shown.decided, reverse=True):
                positions = positions[:position] + positions[position + 1 :]
        if positions:
            self._tallies["negatives"] += len(positions)
            self._emit(shown, positions, labels[: len(positions)], self._clock if early else end + self.lateness + 1)

    def _emit(self, shown: OpenImpression, positions: tuple[int, ...], labels: tuple[float, ...], decided: int) -> None:
        self._out.append(shown.labeled(positions, labels, decided, self._sequence))

    def _take_out(self) -> list[LabeledImpression]:
        out, self._out = self._out, []
        return out


@cache
def _all_negative(count: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Positions and labels of an impression without interactions; shared, since most are."""
    return tuple(range(count)), (0.0,) * count
