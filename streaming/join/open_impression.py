"""An impression whose window is open."""

from __future__ import annotations

from functools import lru_cache
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


@lru_cache(maxsize=64)
def _all_negative(count: int) -> Labels:
    """Positions and labels of an impression without interactions; shared, since most are."""
    return tuple(range(count)), (0.0,) * count


SHORT = 32
"""Items among which a search is as quick as a dictionary, which takes memory."""


class OpenImpression(msgspec.Struct, gc=False, array_like=True):
    """An impression as the log has it, and what the joiner knows of it.

    Features stay the bytes of their JSON until an interaction decides a label: bytes take less memory while they wait,
    and most impressions get all labels at once, by silence. `decided` maps positions to the action that decided their
    label, `clicks` the positive ones to the bin of their delay (see `ClickDelays`). `number` is that of its event,
    `clock` the clock then. `silent`: what nobody had decided was given out as negative. `places`: the first position of
    each item, for long lists that are clicked; the state does not keep it.
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
    places: dict[str, int] | None = None

    def position(self, item: str) -> int:
        """The first position of an item, because an interaction names no position; -1 if it was not shown."""
        if len(self.items) <= SHORT:
            return self.items.index(item) if item in self.items else -1
        if self.places is None:
            self.places = {item: position for position, item in reversed(list(enumerate(self.items)))}
        return self.places.get(item, -1)

    def undecided(self) -> Labels:
        """Positions that no interaction has decided, negative."""
        decided, every = self.decided, _all_negative(len(self.items))
        if not decided:
            return every
        positions = tuple(position for position in every[0] if position not in decided)
        return positions, every[1][: len(positions)]

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
        features, item_features = self.features, self.item_features
        try:
            if isinstance(features, bytes):
                features = _features.decode(features)
            if isinstance(item_features, bytes):
                item_features = _item_features.decode(item_features)
        except msgspec.DecodeError as error:
            raise LogCorruptedError(f"impression {self.id!r} in the log has unreadable features: {error}") from error
        if self.decided:
            self.features, self.item_features = features, item_features
        return LabeledImpression(
            self.id,
            self.time,
            self.user,
            self.items,
            features or _NOTHING,
            item_features or _NOTHING,
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
