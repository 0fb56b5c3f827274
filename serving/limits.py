"""Bounds of requests, and of what is published for them to choose from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from recsys.errors import InvalidValueError

CATALOG_SIZE = 1000
"""Most items published as popular, and most published as recent."""
MOST_BOOST = 1e6
"""The largest `times` of a boost, product of them, and `plus` or minus."""
MOST_BOOSTS = 20
"""Of the settings; a request may have as many. Each costs a look at every candidate, and a product of so many is a
number."""
ITEM_FEATURE = r"^item\.[^.\s]+$"
"""How a feature of items is written in settings and requests, such as `item.maker`."""
ITEM_FEATURE_IN_WORDS = "a feature of items, written with `item.` before its name"
SOURCES = ("two_tower", "popular", "recent", "item_to_item", "history", "basket")
"""Where candidates can come from: see `candidates` in `serving.ranking_parts`."""


def check_shares(shares: Mapping[str, float], known: Collection[str], groups: float = 0.0) -> None:
    """Raise InvalidValueError unless each share is one of a known source, and their sum at most 1 and not 0.

    `groups` is the sum of the shares of groups of items, which need places beside those of sources.
    """
    for name, share in shares.items():
        if name not in known:
            raise InvalidValueError(f"there is no source {name!r}; the sources are {', '.join(known)}")
        if not 0 <= share <= 1:
            raise InvalidValueError(f"the share of {name} is {share}: it must be between 0 and 1")
    total = sum(shares.values())
    if not 0 < total <= 1 + 1e-9:
        raise InvalidValueError(f"the sum of the shares is {total:g}: it must be above 0 and at most 1")
    if total + groups > 1 + 1e-9:
        raise InvalidValueError(
            f"the shares of sources add up to {total:g} and those in `minimums` to {groups:g}: together at most 1"
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """Most candidates of a ranking request, candidates retrieved for a recommendation, bytes of a body.

    Raises InvalidValueError when more are to be retrieved than are published.
    """

    candidates: int = 2000
    retrieve: int = 200
    body: int = 8 << 20

    def __post_init__(self) -> None:
        if not 1 <= self.retrieve <= 2 * CATALOG_SIZE:
            raise InvalidValueError(
                f"retrieve: cannot retrieve {self.retrieve} candidates: {CATALOG_SIZE} popular and {CATALOG_SIZE} "
                f"recent items are published, so choose 1 to {2 * CATALOG_SIZE}"
            )
