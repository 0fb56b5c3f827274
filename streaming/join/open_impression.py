"""An impression on its way through the joiner."""

from __future__ import annotations

from typing import Any

import msgspec

from streaming.events.schema import Features, Value
from streaming.join.labeled_impression import LabeledImpression

_NOTHING: dict[str, Any] = {}
_features = msgspec.json.Decoder(Features)
_item_features = msgspec.json.Decoder(dict[str, list[Value]])


class OpenImpression(msgspec.Struct, gc=False, array_like=True):
    """An impression as it lies in the log, features still JSON, and what the joiner knows of it.

    `decided` maps positions to the action that decided their label, `clicks` the positive ones to the bin of their
    delay (see `ClickDelays`). `number` is that of its event, `clock` the joiner's clock then. `silent`: what nobody had
    decided was given out as negative.
    """

    id: str
    time: int
    user: str
    items: tuple[str, ...]
    features: bytes | None
    item_features: bytes | None
    propensities: tuple[float, ...]
    experiment: str | None
    arm: str | None
    model: str | None
    decided: dict[int, str] | None = None
    clicks: dict[int, int] | None = None
    number: int = 0
    clock: int = 0
    silent: bool = False

    def example(
        self, positions: tuple[int, ...], labels: tuple[float, ...], decided: int, sequence: int, learned: bool
    ) -> LabeledImpression:
        """Raises ValueError when the features in the log cannot be read; the edge that wrote it has checked them."""
        try:
            features = _features.decode(self.features) if self.features else _NOTHING
            item_features = _item_features.decode(self.item_features) if self.item_features else _NOTHING
        except msgspec.DecodeError as error:
            raise ValueError(f"impression {self.id!r} in the log has unreadable features: {error}") from error
        return LabeledImpression(
            self.id,
            self.time,
            self.user,
            self.items,
            features,
            item_features,
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
            _NOTHING,
            (),
        )
