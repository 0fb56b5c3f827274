"""A value of a feature, by which items are told apart in settings and requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from serving.limits import ITEM_FEATURE, ITEM_FEATURE_IN_WORDS
from streaming.events.schema import Value


class ItemAttribute(BaseModel):
    """Such as what a small creator made, by a feature of the items that says so.

    >>> small = ItemAttribute(feature="item.maker", value="small")
    >>> small.is_in("small"), small.is_in(["small", "new"]), small.is_in(None)
    (True, True, False)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    feature: Annotated[str, Field(pattern=ITEM_FEATURE, description=ITEM_FEATURE_IN_WORDS)]
    """Of the items, such as `item.maker`."""
    value: str | bool | int
    """What it is; a list has a value that it contains."""

    @property
    def name(self) -> str:
        """The name that events have the feature under."""
        return self.feature.removeprefix("item.")

    def is_in(self, found: Value) -> bool:
        """Whether the feature of an item, which is `found`, has the value."""
        return equals(found, self.value)


def equals(value: Value | None, wanted: Value) -> bool:
    """Whether a feature has the value `wanted`; a list has a value that it contains."""
    return wanted in value if isinstance(value, list) and not isinstance(wanted, list) else value == wanted
