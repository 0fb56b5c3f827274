"""Impressions and what users did with them, joined in event time.

The clock is the largest event time seen; the watermark is the clock less `lateness`. An impression waits for
interactions up to and including its time + `wait`; when the watermark passes that moment its window closes. What comes
out depends on the sequence of events alone: not on how it is cut into batches, nor on where state is saved.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa

from recsys.errors import InvalidValueError, StateError
from streaming.events.columns import IMPRESSION, times
from streaming.join import joiner_state
from streaming.join.click_delays import ClickDelays, draws
from streaming.join.joiner_state import JoinerState
from streaming.join.label_columns import LabelColumns
from streaming.join.labeled_impression import LabeledImpression, LabelRule
from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.shown_records import Integers
from streaming.join.tables import kernels
from streaming.join.tables.event_columns import NO_TEXT, EventColumns, Text, text_of
from streaming.join.tables.kept_texts import free_keys, of_user, take_in
from streaming.join.tables.layout import Zeros, new_tables, with_room
from streaming.join.tables.text_room import with_text_room
from streaming.text_hash import xxh3_texts

__all__ = ["OUTCOMES", "TALLIES", "Joiner", "LabelRule", "LabeledImpression", "Labels"]

Labels = Literal["paced", "held"]
"""When labels are given out: a click at once and silence at the pace of clicks, or all when the window closes."""

MAX_PENDING = 200_000
"""Most impressions that are open at once."""


PIECE = 4096
"""Most events to join at once: what is not kept of them takes room in the tables meanwhile."""


class Joiner:
    """Labels the positions of impressions.

    With `labels="paced"` a label is given out when an interaction decides it, and the items that nobody has decided are
    given out as negative at an age drawn from the delays of clicks (see `ClickDelays`): at any moment and under any
    traffic, clicks and items are in the proportion of the true rate. An item that is clicked after that comes out once
    more, positive and `learned`. With `labels="held"` each item comes out once, with its final label, when its window
    closes. Either way no label is known before it would have been live.

    At most `max_pending` impressions wait (beyond that the oldest closes early, and is counted) and as many
    interactions are held for an impression that is yet to come. Ids of closed impressions are remembered for `memory`
    of event time, `max_pending` of them at most, so that late interactions differ from unmatched ones, and duplicate
    impressions from new ones. All durations are in ms of event time. `task` is the number of the task that is labelled.
    What waits lies in arrays that `zeros` makes, by default in memory.
    """

    def __init__(
        self,
        rule: LabelRule,
        wait: int,
        lateness: int,
        max_pending: int = MAX_PENDING,
        memory: int = 3_600_000,
        labels: Labels = "paced",
        delays: ClickDelays | None = None,
        task: int = 0,
        zeros: Zeros = np.zeros,
    ) -> None:
        for name, value, least in (("wait", wait, 0), ("lateness", lateness, 0), ("max_pending", max_pending, 1)):
            if value < least:
                raise InvalidValueError(f"{name} is {value}; it must be at least {least}")
        self.rule, self.wait, self.lateness = rule, wait, lateness
        self._paced, self._task, self._zeros = labels == "paced", task, zeros
        self._delays = delays or ClickDelays(wait)
        self._settings = {"wait": wait, "lateness": lateness, "memory": memory, "max_pending": max_pending}
        self._names = sorted(rule.actions)
        """Of actions, by code; more than those of the rule, if a state has labels that others decided."""
        self._codes = text_of(self._names)
        self._clear()

    def _clear(self) -> None:
        self._tables = new_tables(self._delays.counts, paced=self._paced, **self._settings)

    @property
    def counts(self) -> dict[str, int]:
        """Events by outcome (see `OUTCOMES`); the sum is the number of events pushed."""
        counts = dict(zip(OUTCOMES, self._tables.counts.tolist(), strict=False))
        return {**counts, "held": int(self._tables.now[0]["held"])}

    @property
    def tallies(self) -> dict[str, int]:
        """Final labels by value, silences that a click corrected, and windows by how they closed."""
        return dict(zip(TALLIES, self._tables.counts[len(OUTCOMES) :].tolist(), strict=True))

    @property
    def pending(self) -> int:
        """Impressions whose window is open."""
        return int(self._tables.now[0]["waiting"])

    @property
    def unlabelled(self) -> int:
        """Shown items of open impressions whose label was not given out yet."""
        opened = self._tables.opened[self._tables.opened["open"]]
        if not self._paced:
            return int(opened["items"].sum())
        unsaid = opened[~opened["silent"]]
        return int((unsaid["items"] - unsaid["decided"]).sum())

    @property
    def sequence(self) -> int:
        """Events pushed so far."""
        return int(self._tables.now[0]["sequence"])

    @property
    def clock(self) -> int:
        """The newest event time so far, in ms; 0 before the first event."""
        return int(self._tables.now[0]["clock"])

    @property
    def watermark(self) -> int:
        """No window that ends before this event time is open."""
        return self.clock - self.lateness

    def push(self, events: pa.RecordBatch) -> list[LabeledImpression]:
        """As `join`, as objects."""
        return self.join(events).impressions()

    def join(self, events: pa.RecordBatch) -> LabelColumns:
        """Take events (`EVENT_SCHEMA`); returns the labels they decided, in the order in which they became known."""
        pieces = [events.slice(start, PIECE) for start in range(0, events.num_rows, PIECE)]
        return LabelColumns.concat([self._join(EventColumns.of(piece)) for piece in pieces] or [self._take_out()])

    def skip(self, events: pa.RecordBatch) -> LabelColumns:
        """Take only the times of events, which another joiner joins: windows close as if they were joined here."""
        self._make_room()
        kernels.skip(self._tables, times(events))
        return self._take_out()

    def close(self) -> LabelColumns:
        """End of a finite log: every window closes, every held interaction is unmatched."""
        self._make_room()
        kernels.close_all(self._tables)
        return self._take_out()

    def flush(self) -> list[LabeledImpression]:
        """As `close`, as objects."""
        return self.close().impressions()

    def forget(self, user: str) -> int:
        """Drop the open impressions of a user, whose labels nobody will learn; returns how many there were.

        Interactions that come for them later are unmatched.
        """
        slots_S = np.flatnonzero(self._tables.opened["open"])
        own_S = np.zeros(len(slots_S), np.bool_)
        of_user(self._tables, np.frombuffer(user.encode(), np.uint8), slots_S, own_S)
        if own_S.any():
            self._make_room()
            kernels.forget(self._tables, slots_S[own_S])
            self._take_out()
        return int(own_S.sum())

    def state(self) -> bytes:
        """All that the future depends on, but not the settings."""
        return joiner_state.pack(self._tables, self._names, self._delays.state())

    def restore(self, state: bytes) -> None:
        """Restore the state returned by `state()`. Raises StateError when it is not a joiner's."""
        try:
            loaded = msgspec.msgpack.decode(state, type=JoinerState)
            self._delays.restore(loaded.silences[0])
            self._names += sorted(joiner_state.actions(loaded) - set(self._names))
            self._clear()
            e, ids = joiner_state.columns(loaded)
            self._make_room(e, ids)
            joiner_state.fill(self._tables, loaded, self._taken_in(e, text_of(self._names)), ids)
        except (msgspec.DecodeError, KeyError) as error:
            raise StateError(f"not a joiner's state: {error}") from error

    def _join(self, e: EventColumns) -> LabelColumns:
        self._make_room(e)
        keys_N, places_N = self._taken_in(e, self._codes)
        kernels.loosen(self._tables, keys_N)  # once: there is room for no more
        at, events = 0, len(keys_N)
        while (at := kernels.join(self._tables, e.kinds_N, e.times_N, keys_N, places_N, at)) < events:
            self._delays.estimate(int(self._tables.now[0]["clock"]))
        return self._take_out()

    def _taken_in(self, e: EventColumns, actions: Text) -> tuple[Integers, Integers]:
        """The key of each event, and its slot or place; -1 where there is none. `actions` have a code."""
        keys_N, places_N = np.full(len(e.kinds_N), -1), np.full(len(e.kinds_N), -1)
        least = -np.inf if self.rule.min_value is None else self.rule.min_value
        take_in(self._tables, e, actions, least, keys_N, places_N)
        if self._paced:
            shown = np.flatnonzero(e.kinds_N == IMPRESSION)
            starts, stops = (e.id.offsets[shown + n].astype(np.int64) for n in (0, 1))
            self._tables.opened["draw"][places_N[shown]] = draws(xxh3_texts(e.id.data, starts, stops))
        return keys_N, places_N

    def _make_room(self, e: EventColumns | None = None, ids: Text = NO_TEXT) -> None:
        """For these events more, and these ids."""
        events = 0 if e is None else len(e.kinds_N)
        self._delays.reserve(events)
        t = with_room(self._tables._replace(delays=self._delays.counts), e, len(ids.offsets) - 1, self._zeros)
        self._tables = with_text_room(t, e, len(ids.data), self._zeros)

    def _take_out(self) -> LabelColumns:
        labels, now = LabelColumns.of(self._tables, self._task), self._tables.now
        now["outputs"] = now["decisions"] = now["positions"] = 0
        free_keys(self._tables)
        return labels
