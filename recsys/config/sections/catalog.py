"""Which items are popular."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from recsys.config.sections.section import Section
from recsys.config.units import Duration, milliseconds


class CatalogSection(Section):
    """The popular and recent items that the trainer publishes for retrieval."""

    half_life: Annotated[Duration, Field(gt=0)] = milliseconds("7d")
    """Of an item's popularity, in event time."""
    min_propensity: Annotated[float, Field(gt=0, le=1)] = 1.0
    """A click counts 1 / its logged propensity, which is at least this; 1: all clicks count alike."""
