"""What a proposal leaves out, and what a server will lack, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recsys.proposal.columns.vocabulary import POSITION, tokens
from recsys.proposal.mappings.mapping import ProposedMapping


def left_out(one: ProposedMapping) -> Iterator[str]:
    """Columns with the place of an item in its list: they are no fields."""
    names = [column.name for column in one.of.roles.others if POSITION.intersection(tokens(column.name))]
    if one.kind in ("impression", "shown") and names:
        named = " and ".join(map(repr, names))
        yield (
            f"{one.of.path}: {named} {'is' if len(names) == 1 else 'are'} left out: nobody knows the place of an item "
            "before its list is made. What is learned of places ([training.debiasing]) goes by the order of the items "
            "in their list."
        )


def of_lists_only(mappings: Sequence[ProposedMapping]) -> Iterator[str]:
    """Features of items that no file of items has: a server would know them of no item."""
    own = {feature.name for one in mappings if one.kind == "item" for feature in one.features}
    found = [feature.name for one in mappings if one.kind != "item" for feature in one.features
             if feature.source.startswith("item.") and feature.name not in own]  # fmt: skip
    if found:
        yield (
            f"Features of items stand in the rows of lists only: {', '.join(dict.fromkeys(found))}. A server knows "
            "them of no item unless a request has them (item_features): give a file of the items as well "
            '(kind = "item"), or send item updates.'
        )
