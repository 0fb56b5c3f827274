"""What the model reads from an event, and how it becomes ids and numbers. Training and serving share this code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["categorical", "multi", "numeric"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the model's input.

    `source` is `user` or `item` (the id itself), `request.NAME` (the impression's feature, else the user's latest
    update), `item.NAME` (the impression's item feature, else the item's latest update), `time.hour` or `time.weekday`
    (of the impression, UTC). Fields with the same `table` share rows: equal values get equal ids.
    `transform`: for numbers, `log` is AutoInt's log^2(z) for z > 2 (section 5.1.2), `log1p` is sign(z)*log(1+|z|).
    """

    name: str
    kind: Kind
    source: str
    table: str = ""
    transform: Literal["none", "log", "log1p"] = "none"

    @property
    def of_item(self) -> bool:
        """Whether the value differs between the items of one impression."""
        return self.source == "item" or self.source.startswith("item.")


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """All fields; those of the request come before those of the item, as the exported graph takes them."""

    fields: tuple[Field, ...]

    @staticmethod
    def of(fields: Sequence[Field]) -> FeatureSpec:
        return FeatureSpec(tuple(sorted(fields, key=lambda f: f.of_item)))

    @property
    def sparse(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.kind != "numeric")

    @property
    def numeric(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.kind == "numeric")
