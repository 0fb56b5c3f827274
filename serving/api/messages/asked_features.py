"""The features of items that requests name, beside those that they give."""

from __future__ import annotations

from collections.abc import Iterator

from serving.api.messages.schemas import RankRequest, RecommendRequest
from streaming.ingest.validation import Rules, check_item_feature


def check_asked_features(asked: RankRequest | RecommendRequest, rules: Rules) -> None:
    """Raises InvalidValueError, field first, for a feature that no event may carry, so that no item has it."""
    for field, name in _named(asked):
        check_item_feature(field, name, rules)


def _named(asked: RankRequest | RecommendRequest) -> Iterator[tuple[str, str]]:
    """The fields with the features that they name."""
    for number, boost in enumerate(asked.boosts):
        yield f"boosts[{number}].feature", boost.feature.removeprefix("item.")
    if isinstance(asked, RecommendRequest):
        for name in asked.where:
            yield f"where.{name}", name
