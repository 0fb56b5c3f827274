"""The section `[item_sets]`: sets that items belong to, which `basket` completes as a source of candidates."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from recsys.config.sections.section import Count, Section, error_at


class ItemSetsSection(Section):
    """Sets of items by a feature of theirs, kept by the trainer and published with the catalogue."""

    feature: str = ""
    """The feature of items, such as `item.recipes`, whose values name the sets that an item is in; empty: no sets."""
    mined: bool = False
    """Whether sets are mined instead: an item and what is clicked together with it, by `[item_to_item]`."""
    members: Count = 200
    """Most items of a set that are published: those in the fewest sets."""

    @property
    def name(self) -> str:
        """Of the feature as items have it, without `item.`."""
        return self.feature.removeprefix("item.")

    @model_validator(mode="after")
    def _names_a_feature(self) -> Self:
        if self.feature and not (self.feature.startswith("item.") and self.name):
            raise error_at(("feature",), f"{self.feature!r} is no feature of items: write it as item.recipes")
        if self.feature and self.mined:
            raise error_at(("mined",), "sets are named by item_sets.feature already: delete one of both")
        if not (self.feature or self.mined) and self.members != type(self).model_fields["members"].default:
            raise error_at(
                ("members",), "has no effect without feature or mined, which make the sets. Set one, or delete this"
            )
        return self
