"""An impression whose window is open."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from recsys.errors import LogCorruptedError
from streaming.events.schema import Features, Value
from streaming.join.labeled_impression import LabeledImpression

ItemFeatures = dict[str, list[Value]]

_NOTHING: dict[str, Any] = {}
_features = msgspec.json.Decoder(Features)
_item_features = msgspec.json.Decoder(ItemFeatures)


Labels = tuple[tuple[int, ...], tuple[float, ...]]
"""Positions, and the label of each."""


@cache
def _all_negative(count: int) -> Labels:
    """Positions and labels of an impression without interactions; shared, since most are."""
    return tuple(range(count)), (0.0,) * count


class OpenImpression(msgspec.Struct, gc=False, array_like=True):
    """An impression as the log has it, and what the joiner knows of it.

    Features stay the bytes of their JSON until the first label: most impressions get all labels at once, and bytes
    take less memory while they wait. `decided` maps positions to the action that decided their label, `clicks` the
    positive ones to the bin of their delay (see `ClickDelays`). `number` is that of its event, `clock` the clock
    then. `silent`: what nobody had decided was given out as negative.
    """

    id: str
    time: int
    user: str
    items: tuple[str, ...]
    features: bytes | Features | None
    item_features: bytes | ItemFeatures | None
    propensities: tuple[float, ...]
    experiment: str | None
    arm: str | None
    model: str | None
    decided: dict[int, str] | None = None
    clicks: dict[int, int] | None = None
    number: int = 0
    clock: int = 0
    silent: bool = False

    def decide(self, item: str, action: str, time: int, wait: int) -> tuple[str, int]:
        """The outcome of an interaction (see `outcomes`), and the position whose label it decides, or -1.

        A duplicate item gets its label at the first position, because an interaction names no position.
        """
        if time > self.time + wait:
            return "late", -1
        try:
            position = self.items.index(item)
        except ValueError:
            return "unknown_items", -1
        if self.decided is None:
            self.decided = {}
        if position in self.decided:
            return "duplicates" if self.decided[position] == action else "duplicate_labels", -1
        self.decided[position] = action
        return "joined", position

    def undecided(self) -> Labels:
        """Positions that no interaction has decided, negative."""
        positions, labels = _all_negative(len(self.items))
        if self.decided is not None:
            for position in sorted(self.decided, reverse=True):
                positions = positions[:position] + positions[position + 1 :]
        return positions, labels[: len(positions)]

    def final(self) -> Labels:
        """All positions, positive where an interaction made them so."""
        positions, labels = _all_negative(len(self.items))
        clicks = self.clicks
        return positions, tuple(float(position in clicks) for position in positions) if clicks else labels

    def labeled(
        self,
        positions: tuple[int, ...],
        labels: tuple[float, ...],
        decided: int,
        sequence: int,
        learned: bool,
        task: int,
    ) -> LabeledImpression:
        """Raises LogCorruptedError when the features cannot be decoded: they were checked before they were logged."""
        try:
            if isinstance(self.features, bytes):
                self.features = _features.decode(self.features)
            if isinstance(self.item_features, bytes):
                self.item_features = _item_features.decode(self.item_features)
        except msgspec.DecodeError as error:
            raise LogCorruptedError(f"impression {self.id!r} in the log has unreadable features: {error}") from error
        return LabeledImpression(
            self.id,
            self.time,
            self.user,
            self.items,
            self.features or _NOTHING,
            self.item_features or _NOTHING,
            self.propensities,
            self.experiment or "",
            self.arm or "",
            self.model or "",
            positions,
            labels,
            decided,
            sequence,
            self.number,
            learned,
            task,
            _NOTHING,
            (),
        )
