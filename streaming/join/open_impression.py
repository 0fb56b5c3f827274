"""An impression whose window is open."""

from __future__ import annotations

from typing import Any

import msgspec

from recsys.errors import LogCorruptedError
from streaming.events.schema import Features, Value
from streaming.join.labeled_impression import LabeledImpression

ItemFeatures = dict[str, list[Value]]

_NOTHING: dict[str, Any] = {}
_features = msgspec.json.Decoder(Features)
_item_features = msgspec.json.Decoder(ItemFeatures)


class OpenImpression(msgspec.Struct, gc=False, array_like=True):
    """An impression as the log has it, and what the joiner knows of it.

    Features stay the bytes of their JSON until the first label: most impressions get all labels at once, and bytes
    take less memory while they wait. `decided` maps positions to the action that decided their label.
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

    def labeled(
        self, positions: tuple[int, ...], labels: tuple[float, ...], decided: int, sequence: int
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
            _NOTHING,
            (),
        )
