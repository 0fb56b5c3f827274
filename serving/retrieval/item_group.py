"""Items that a value of a feature has in common, of which candidates have a minimum."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serving.item_attribute import ItemAttribute
from streaming.events.schema import Features


class ItemGroup(ItemAttribute):
    """Such as what small creators made.

    >>> small = ItemGroup(feature="item.maker", value="small", share=0.1)
    >>> small.has({"maker": "small"}), small.has({"maker": ["large"]}), small.has({})
    (True, False, False)
    """

    share: Annotated[float, Field(gt=0, le=1)]
    """The minimum share of the candidates, if the sources find as many."""

    def has(self, features: Features) -> bool:
        """Whether an item with these features is one of them."""
        return self.is_in(features.get(self.name))
