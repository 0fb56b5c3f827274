"""The interface of sources of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from serving.experiments.assignment import Arm
from streaming.events.schema import Features


@dataclass(frozen=True, slots=True)
class RetrievalQuery:
    """The request for candidates: `time` is event time in ms, `arm` the user's arm of the experiment."""

    user: str
    time: int
    features: Features
    arm: Arm
    where: Features = field(default_factory=dict)
    """Values that features of the items must have."""
    basket: Sequence[str] = ()
    """Items that the user has chosen so far."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct items, best first, each with its source and what the source scores it with.

    Scores of different sources do not compare.
    """

    ids: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    score: list[float] = field(default_factory=list)


class Retriever(Protocol):
    """A source of candidates."""

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        """At most `count` different items, none of them in `exclude`; none if it has nothing for this query.

        It runs on the server's one ranking thread, so what it reads is in memory, or takes a read or two of Redis.
        """
        ...
