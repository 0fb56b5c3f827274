"""The section `[item_to_item]`: which items the same users click, as a source of candidates."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from recsys.config.sections.section import Count, Section, error_at
from recsys.config.units import Duration, milliseconds


class ItemToItemSection(Section):
    """Counts of items clicked together, kept by the trainer and published with the catalogue."""

    enabled: bool = False
    """Whether they are counted and published."""
    window: Annotated[Duration, Field(gt=0)] = milliseconds("1d")
    """Two clicks of one user at most this far apart, in event time, are a pair."""
    half_life: Annotated[Duration, Field(gt=0)] = milliseconds("30d")
    """Of the counts, in event time."""
    items: Annotated[int, Field(ge=2)] = 50_000
    """Most items counted."""
    users: Count = 100_000
    """Most users whose latest clicks are remembered."""
    neighbours: Count = 50
    """Most neighbours of an item."""
    clicks: Annotated[int, Field(ge=2)] = 20
    """Most latest clicks of a user."""

    @model_validator(mode="after")
    def _effective(self) -> Self:
        for name, field in type(self).model_fields.items():
            if not self.enabled and getattr(self, name) != field.default:
                raise error_at((name,), "has no effect while enabled is false. Set enabled = true, or delete it")
        return self
