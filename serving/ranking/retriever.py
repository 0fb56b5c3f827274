"""Candidates for `POST /v1/recommend`."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from recsys.errors import InvalidValueError
from serving.experiments.assignment import Arm
from serving.ranking.popularity import CatalogSnapshot
from streaming.events.schema import Features

POPULAR, RECENT = "popular", "recent"


@dataclass(frozen=True, slots=True)
class RetrievalQuery:
    """The request for candidates: `time` is event time in ms, `arm` the user's arm of the experiment."""

    user: str
    time: int
    features: Features
    arm: Arm


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct items, each with its source."""

    ids: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)


class Retriever(Protocol):
    """A source of candidates."""

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        """At most `count` different items, none of them in `exclude`."""
        ...


class CatalogRetriever:
    """Popular and recent items of the published catalogue, the same for every query.

    At least `recent_share` of the candidates are the most recent items, if there are as many.
    """

    def __init__(self, catalog: CatalogSnapshot, recent_share: float) -> None:
        if not 0 <= recent_share <= 1:
            raise InvalidValueError(f"recent_share must be between 0 and 1, got {recent_share}")
        self._catalog = catalog
        self._recent_share = recent_share

    def retrieve(
        self,
        query: RetrievalQuery,  # noqa: ARG002 - popular and recent items are the same for everyone
        count: int,
        exclude: AbstractSet[str] = frozenset(),
    ) -> Candidates:
        """First the reserved places of recent items, then popular items, then recent ones until `count` is reached."""
        popular, recent = self._catalog.popular, self._catalog.recent
        reserved = islice((item for item in recent if item not in exclude), round(count * self._recent_share))
        chosen = dict.fromkeys(reserved, RECENT)
        sources: tuple[tuple[str, Iterable[str]], ...] = ((POPULAR, popular), (RECENT, recent))
        for source, items in sources:
            wanted = (item for item in items if item not in exclude and item not in chosen)
            chosen.update(dict.fromkeys(list(islice(wanted, count - len(chosen))), source))
        return Candidates(list(chosen), list(chosen.values()))
