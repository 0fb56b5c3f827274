"""Impressions and what users did with them, joined in event time.

The clock is the largest event time seen; the watermark is the clock less `lateness`. An impression waits for
interactions up to and including its time + `wait`; when the watermark passes that moment its window closes. What comes
out depends on the sequence of events alone: not on how it is cut into batches, nor on where state is saved.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import msgspec
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from streaming.events.columns import IMPRESSION, INTERACTION, kinds, times
from streaming.join.click_delays import ClickDelays
from streaming.join.early_interactions import EarlyInteractions
from streaming.join.event_rows import InteractionRow, impressions, interactions
from streaming.join.labeled_impression import LabeledImpression, LabelRule
from streaming.join.open_impression import OpenImpression
from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.recently_closed import RecentlyClosed
from streaming.join.silences import Silences
from streaming.join.window_queue import Entry, WindowQueue

__all__ = ["OUTCOMES", "TALLIES", "Joiner", "LabelRule", "LabeledImpression", "Labels"]

Labels = Literal["paced", "held"]
"""When labels are given out. `paced`: a click at once, silence at the pace of clicks. `held`: all when the window
closes."""


class _State(msgspec.Struct):
    """`held` is by number; `closed` has ids and when to forget them, oldest first."""

    clock: int
    sequence: int
    counts: dict[str, int]
    tallies: dict[str, int]
    waiting: list[OpenImpression]
    silences: list[Entry]
    drawn_by: int
    delays: bytes
    held: list[tuple[int, InteractionRow]]
    closed: list[tuple[str, int]]


class Joiner:
    """Labels the positions of impressions.

    With `labels="paced"` a positive label is given out when its interaction arrives, and the items of a list that
    nobody has decided are given out as negative at an age drawn from the delays of clicks (see `ClickDelays`), so that
    at any moment and under any traffic positives and items are in the proportion of the true rate. An item that is
    clicked after that comes out once more, positive and `learned`. With `labels="held"` each item comes out once, with
    its final label, when its window closes.

    At most `max_pending` impressions wait (beyond that the oldest closes early, and is counted) and as many
    interactions are held for an impression that is yet to come. Ids of closed impressions are remembered for `memory`
    of event time, `max_pending` of them at most, so that a late interaction differs from an orphan and a duplicate is
    not taken for news. All durations are in ms of event time.
    """

    def __init__(
        self,
        rule: LabelRule,
        wait: int,
        lateness: int,
        max_pending: int = 1_000_000,
        memory: int = 3_600_000,
        labels: Labels = "paced",
        delays: ClickDelays | None = None,
    ) -> None:
        for name, value, least in (("wait", wait, 0), ("lateness", lateness, 0), ("max_pending", max_pending, 1)):
            if value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        self.rule, self.wait, self.lateness = rule, wait, lateness
        self._max_pending, self._memory = max_pending, memory
        self._clock = self._sequence = 0
        self._counts = dict.fromkeys(OUTCOMES, 0)
        self._tallies = dict.fromkeys(TALLIES, 0)
        self._open: dict[str, OpenImpression] = {}
        self._paced = labels == "paced"
        self._delays = delays or ClickDelays(wait)
        self._silences = Silences()
        self._drawn_by = 0
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
        """Final labels by value, silences that a click corrected, and windows by how they closed."""
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
        """Take events in (`EVENT_SCHEMA`), give out what they decided, in the order in which it became known."""
        shown, acted = impressions(events), interactions(events)
        for kind, time in zip(kinds(events).tolist(), times(events).tolist(), strict=True):
            self._sequence += 1
            if time > self._clock:
                self._advance(time)
            if kind == INTERACTION:
                self._act(next(acted))
            elif kind == IMPRESSION:
                self._show(next(shown))
            else:
                self._counts["updates"] += 1
        return self._take_out()

    def flush(self) -> list[LabeledImpression]:
        """End of a finite log: every window closes, every held interaction is an orphan."""
        self._silences.load(())
        self._pass(math.inf)
        self._counts["unmatched"] += self._held.clear()
        return self._take_out()

    def state(self) -> bytes:
        """All that the future depends on, but not the settings."""
        waiting = [self._open[id_] for _, _, id_ in self._waiting]
        silences = self._silences.dump([shown.id for shown in waiting if not shown.silent])
        held, closed, delays = self._held.dump(), self._closed.dump(), self._delays.state()
        state = _State(
            self._clock,
            self._sequence,
            self._counts,
            self._tallies,
            waiting,
            silences,
            self._drawn_by,
            delays,
            held,
            closed,
        )
        return msgspec.msgpack.encode(state)

    def restore(self, state: bytes) -> None:
        """Become what gave `state`. Raises ValueError when it is not a joiner's."""
        try:
            loaded = msgspec.msgpack.decode(state, type=_State)
            self._delays.restore(loaded.delays)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a joiner's state: {error}") from error
        self._clock, self._sequence = loaded.clock, loaded.sequence
        self._counts, self._tallies = loaded.counts, loaded.tallies
        self._open = {shown.id: shown for shown in loaded.waiting}
        self._silences.load(loaded.silences)
        self._drawn_by = loaded.drawn_by
        self._waiting = WindowQueue()
        for shown in loaded.waiting:
            self._waiting.push((shown.time, shown.number, shown.id))
        self._held.load(loaded.held)
        self._closed.load(loaded.closed)

    def _advance(self, clock: int) -> None:
        """Let time pass: whatever became known meanwhile comes out in the order in which it did."""
        self._clock = clock
        due = self._silences.first
        while due is not None and due < clock:
            self._pass(due + 1 - self.lateness)
            if (shown := self._open.get(self._silences.pop())) is not None:
                self._be_silent(shown, due + 1)
            due = self._silences.first
        self._pass(clock - self.lateness)

    def _pass(self, watermark: float) -> None:
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
            shown.number, shown.clock = self._sequence, self._clock
            self._waiting.push((shown.time, shown.number, id_))
            self._delays.shown(self._clock, len(shown.items))
            if self._paced:
                self._silences.push(self._due(shown), shown.number, id_)
                self._draw_anew()
            if id_ in self._held.by_impression:
                self._decide_held(shown, self._held.take(id_))
            while len(self._open) > self._max_pending and (oldest := self._waiting.pop_before(math.inf)):
                self._close(oldest, early=True)
            if len(self._silences) > 2 * self._max_pending:
                self._silences.load(self._silences.dump(self._open))

    def _due(self, shown: OpenImpression) -> int:
        """The clock at which its silence is learned."""
        age = self._delays.age(xxh3_64_intdigest(shown.id.encode()) / 2**64)
        return max(shown.clock + age, self._clock)

    def _draw_anew(self) -> None:
        """Follow an estimate that has moved, as it does in the first window of a log."""
        if self._drawn_by != self._delays.version:
            self._drawn_by = self._delays.version
            lists = [shown for shown in self._open.values() if not shown.silent]
            self._silences.load((self._due(shown), shown.number, shown.id) for shown in lists)

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
            self._label(shown, {position: self._positive(shown, position, acted)})

    def _decide_held(self, shown: OpenImpression, held: list[InteractionRow]) -> None:
        """What came before the impression becomes known all at once."""
        labels = {}
        for acted in held:
            position = self._position(shown, acted)
            if position >= 0:
                labels[position] = self._positive(shown, position, acted)
        if labels:
            self._label(shown, labels)

    def _label(self, shown: OpenImpression, positive: dict[int, bool]) -> None:
        """Give out labels that interactions decided; of a list that was given out as silent, the positive ones."""
        if shown.silent:
            positive = {position: True for position, is_positive in positive.items() if is_positive}
            self._tallies["corrected"] += len(positive)
        if self._paced and positive:
            self._emit(shown, tuple(positive), tuple(map(float, positive.values())), self._clock, learned=shown.silent)

    def _positive(self, shown: OpenImpression, position: int, acted: InteractionRow) -> bool:
        positive = self.rule.min_value is None or acted.value >= self.rule.min_value
        self._tallies["positives" if positive else "negatives"] += 1
        if positive:
            bin_ = self._delays.bin(self._clock - shown.clock)
            self._delays.clicked(bin_)
            shown.clicks = {**(shown.clicks or {}), position: bin_}
        return positive

    def _position(self, shown: OpenImpression, acted: InteractionRow) -> int:
        """The position whose label `acted` decides, or -1. Counts what became of it.

        An item that is there twice gets its label at the first position: an interaction names none.
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

    def _be_silent(self, shown: OpenImpression, decided: int) -> None:
        """Give out as negative what nobody has decided; a click may still correct it."""
        shown.silent = True
        positions, labels = _undecided(shown)
        if positions:
            self._emit(shown, positions, labels, decided)

    def _close(self, oldest: Entry, early: bool = False) -> None:
        """Close the oldest window: what nobody decided is negative.

        It becomes known at the moment at which the watermark passes the window's end, or now.
        """
        time, _, id_ = oldest
        shown = self._open.pop(id_)
        end = time + self.wait
        decided = self._clock if early else end + self.lateness + 1
        self._closed.add(id_, max(end, self._clock) + self._memory, self._clock - self.lateness)
        self._tallies["closed_early" if early else "closed"] += 1
        self._tallies["negatives"] += len(_undecided(shown)[0])
        self._delays.closed(len(shown.items), (shown.clicks or {}).values())
        if not self._paced:
            clicks = shown.clicks or {}
            positions = tuple(range(len(shown.items)))
            self._emit(shown, positions, tuple(float(position in clicks) for position in positions), decided)
        elif not shown.silent:
            self._be_silent(shown, decided)

    def _emit(
        self,
        shown: OpenImpression,
        positions: tuple[int, ...],
        labels: tuple[float, ...],
        decided: int,
        *,
        learned: bool = False,
    ) -> None:
        self._out.append(shown.example(positions, labels, decided, self._sequence, learned))

    def _take_out(self) -> list[LabeledImpression]:
        out, self._out = self._out, []
        return out


def _undecided(shown: OpenImpression) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Positions that no interaction decided, and their labels."""
    positions, labels = _all_negative(len(shown.items))
    if shown.decided is not None:
        for position in sorted(shown.decided, reverse=True):
            positions = positions[:position] + positions[position + 1 :]
    return positions, labels[: len(positions)]


@cache
def _all_negative(count: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Positions and labels of a list that nobody touched; shared, since most lists are."""
    return tuple(range(count)), (0.0,) * count
