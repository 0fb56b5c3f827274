"""An impression whose window is open."""

from __future__ import annotations

import msgspec

from streaming.events.schema import Features, Value


class OpenImpression(msgspec.Struct, gc=False, array_like=True):
    """An impression as the log has it, and, in a joiner's state, what the joiner knows of it.

    Features are the bytes of their JSON. `decided` maps positions to the action that decided their label, `clicks` the
    positive ones to the bin of their delay (see `ClickDelays`). `number` is that of its event, `clock` the clock then.
    `silent`: what nobody had decided was given out as negative. States of older releases have features decoded, and
    `places`, which nobody reads.
    """

    id: str
    time: int
    user: str
    items: tuple[str, ...]
    features: bytes | Features | None
    item_features: bytes | dict[str, list[Value]] | None
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
