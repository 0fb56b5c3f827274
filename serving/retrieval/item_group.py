"""Items that a value of a feature has in common, of which candidates have a minimum."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from streaming.events.schema import Features, Value


class ItemGroup(BaseModel):
    """Such as what small creators made, by a feature of the items that says so.

    >>> small = ItemGroup(feature="item.maker", value="small", share=0.1)
    >>> small.has({"maker": "small"}), small.has({"maker": ["large"]}), small.has({})
    (True, False, False)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    feature: Annotated[str, Field(pattern=r"^item\.[^.\s]+$")]
    """Of the items, such as `item.maker`."""
    value: str | bool | int
    """What it is; a list has a value that it contains."""
    share: Annotated[float, Field(gt=0, le=1)]
    """The minimum share of the candidates, if the sources find as many."""

    def has(self, features: Features) -> bool:
        """Whether an item with these features is one of them."""
        return equals(features.get(self.feature.removeprefix("item.")), self.value)


def equals(value: Value | None, wanted: Value) -> bool:
    """Whether a feature has the value `wanted`; a list has a value that it contains."""
    return wanted in value if isinstance(value, list) and not isinstance(wanted, list) else value == wanted
