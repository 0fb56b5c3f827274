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
from streaming.events.columns import times
from streaming.join import joiner_state
from streaming.join.click_delays import ClickDelays, draws
from streaming.join.columns_to_rows import InteractionRow
from streaming.join.joiner_state import JoinerState
from streaming.join.labeled_impression import LabeledImpression, LabelRule
from streaming.join.labeler import Labeler
from streaming.join.open_impression import OpenImpression
from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.tables import kernels
from streaming.join.tables.kept import Kept
from streaming.join.tables.layout import new_tables, with_room
from streaming.join.tables.run import Run

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
    ) -> None:
        for name, value, least in (("wait", wait, 0), ("lateness", lateness, 0), ("max_pending", max_pending, 1)):
            if value < least:
                raise InvalidValueError(f"{name} is {value}; it must be at least {least}")
        self.rule, self.wait, self.lateness = rule, wait, lateness
        self._paced, self._task = labels == "paced", task
        self._delays = delays or ClickDelays(wait)
        self._settings = {"wait": wait, "lateness": lateness, "memory": memory, "max_pending": max_pending}
        self._actions = sorted(rule.actions)
        self._codes = {action: code for code, action in enumerate(self._actions)}
        self._clear()

    def _clear(self) -> None:
        self._kept = Kept()
        self._tables = new_tables(self._delays.counts, paced=self._paced, **self._settings)
        self._labeler = Labeler(self._kept.slots, self._actions, self._task)

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
    def sequence(self) -> int:
        """Events pushed so far."""
        return int(self._tables.now[0]["sequence"])

    @property
    def watermark(self) -> int:
        """No window that ends before this event time is open."""
        return int(self._tables.now[0]["clock"]) - self.lateness

    def push(self, events: pa.RecordBatch) -> list[LabeledImpression]:
        """Take events (`EVENT_SCHEMA`); returns the labels they decided, in the order in which they became known."""
        out: list[LabeledImpression] = []
        for start in range(0, events.num_rows, PIECE):
            for run in Run.of(events.slice(start, PIECE)).by_id(self._kept.opened):
                out += self._join(run)
        return out

    def skip(self, events: pa.RecordBatch) -> list[LabeledImpression]:
        """Take only the times of events, which another joiner joins: windows close as if they were joined here."""
        self._make_room(0)
        kernels.skip(self._tables, times(events))
        return self._take_out()

    def flush(self) -> list[LabeledImpression]:
        """End of a finite log: every window closes, every held interaction is unmatched."""
        self._make_room(0)
        kernels.close_all(self._tables)
        return self._take_out()

    def forget(self, user: str) -> int:
        """Drop the open impressions of a user, whose labels nobody will learn; returns how many there were.

        Interactions that come for them later are unmatched.
        """
        keys = [self._kept.keys[one.id] for one in self._kept.opened.values() if one.user == user]
        if keys:
            self._make_room(0)
            kernels.forget(self._tables, self._tables.keys["slot"][keys])
            self._take_out()
        return len(keys)

    def state(self) -> bytes:
        """All that the future depends on, but not the settings."""
        return joiner_state.pack(self._tables, self._kept, self._delays.state())

    def restore(self, state: bytes) -> None:
        """Restore the state returned by `state()`. Raises StateError when it is not a joiner's."""
        try:
            loaded = msgspec.msgpack.decode(state, type=JoinerState)
            self._delays.restore(loaded.silences[0])
            self._clear()
            joiner_state.keep(self._tables, self._kept, loaded)
            self._make_room(0)
            joiner_state.fill(self._tables, self._kept, loaded, self._codes, self.rule)
        except (msgspec.DecodeError, KeyError) as error:
            raise StateError(f"not a joiner's state: {error}") from error

    def _join(self, run: Run) -> list[LabeledImpression]:
        events, kept = len(run.kinds_N), self._kept
        keys_N, places_N = np.full(events, -1), np.full(events, -1)
        ids = [one.id for one in run.shown]
        codes = [self._codes.get(one.action, -1) for one in run.acted]
        keys_N[run.impressions] = shown_keys = list(map(kept.keys.__getitem__, ids))
        keys_N[run.interactions] = [
            kept.keys[one.impression] if code >= 0 else -1 for one, code in zip(run.acted, codes, strict=True)
        ]
        places_N[run.impressions] = slots = kept.slots.add(run.shown)
        places_N[run.interactions] = places = kept.places.add(run.acted)
        self._make_room(events)
        self._write_shown(run.shown, ids, slots, shown_keys)
        self._write_acted(run.acted, places, codes)
        at = 0
        while (at := kernels.join(self._tables, run.kinds_N, run.times_N, keys_N, places_N, at)) < events:
            self._delays.estimate(int(self._tables.now[0]["clock"]))
        self._note_opened(run.shown, slots)
        return self._take_out()

    def _make_room(self, events: int) -> None:
        """For so many events more."""
        kept = self._kept
        self._delays.reserve(events)
        t = self._tables._replace(delays=self._delays.counts)
        self._tables = t = with_room(t, events, len(kept.slots.objects), len(kept.places.objects), len(kept.keys.ids))
        kernels.begin_keys(t, np.array(kept.keys.take_fresh(), np.int64))

    def _write_shown(self, shown: list[OpenImpression], ids: list[str], slots: list[int], keys: list[int]) -> None:
        opened = self._tables.opened
        opened["time"][slots] = [one.time for one in shown]
        opened["items"][slots] = [len(one.items) for one in shown]
        if self._paced:
            opened["draw"][slots] = draws(ids, len(ids))
        for id_, one in zip(ids, shown, strict=True):
            self._kept.opened.setdefault(id_, one)
        for n in np.flatnonzero(self._tables.keys["first"][keys] >= 0).tolist():
            self._find_held(shown[n], keys[n])

    def _find_held(self, shown: OpenImpression, key: int) -> None:
        """Of the interactions that are held for an impression, the positions in it."""
        place = self._tables.keys[key]["first"]
        while place >= 0:
            acted = self._tables.acted[place]
            acted["position"] = shown.position(self._kept.places.objects[place].item)
            place = acted["after"]

    def _write_acted(self, interactions: list[InteractionRow], places: list[int], codes: list[int]) -> None:
        opened, acted = self._kept.opened, self._tables.acted
        met = [opened.get(one.impression) for one in interactions]
        positive = self.rule.label
        acted["time"][places] = [one.time for one in interactions]
        acted["action"][places] = codes
        acted["positive"][places] = [positive(one.value) for one in interactions]
        acted["position"][places] = [
            shown.position(one.item) if shown is not None else -1 for one, shown in zip(interactions, met, strict=True)
        ]

    def _note_opened(self, shown: list[OpenImpression], slots: list[int]) -> None:
        """Note on impressions that were taken in when that was; one whose id was open before is open now instead."""
        opened = self._tables.opened[slots]
        for one, number, clock in zip(shown, opened["number"].tolist(), opened["clock"].tolist(), strict=True):
            one.number, one.clock = number, clock
        if len(shown) == 1 and opened[0]["open"]:
            self._kept.opened[shown[0].id] = shown[0]

    def _take_out(self) -> list[LabeledImpression]:
        labels = self._labeler.labels(self._tables)
        self._kept.let_go(self._tables)
        return labels
