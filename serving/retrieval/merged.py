"""Several sources as one."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain

from serving.cache.entity_cache import EntityFeatures
from serving.limits import check_shares
from serving.retrieval.fair_merge import Bound, Rule, merge
from serving.retrieval.item_group import ItemGroup
from serving.retrieval.retriever import Candidates, RetrievalQuery, Retriever

_logger = logging.getLogger(__name__)
_WIDER = 4


class MergedRetriever:
    """Candidates of `sources`, by name, of each at least its share in `shares` if it has as many.

    So have `groups`, whose items are known by the latest features in `entities`; where there are groups, sources are
    asked for `_WIDER` times as many, so that such items are found. `rule` is that of `merge`. A source without a share
    is not asked. One that fails is left out and counted in `failures`: it must not cost the answer. Raises
    InvalidValueError for shares that cannot be met or of which there is no source.
    """

    def __init__(
        self,
        sources: Mapping[str, Retriever],
        shares: Mapping[str, float],
        groups: Sequence[ItemGroup] = (),
        entities: EntityFeatures | None = None,
        rule: Rule = "borda",
    ) -> None:
        check_shares(shares, sources.keys(), sum(group.share for group in groups))
        self._groups, self._entities, self._rule = groups, entities, rule
        self._sources = {name: source for name, source in sources.items() if shares.get(name, 0) > 0}
        self._shares = [shares[name] for name in self._sources]
        self.failures: Counter[str] = Counter()

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        """The source and the score of an item are those of the source that gives it the most points (`merge`)."""
        asked = _WIDER * count if self._groups else count
        found = [self._ask(name, query, asked, exclude) for name in self._sources]
        minima = [_places(share, count) for share in self._shares]
        rankings = [candidates.ids for candidates in found]
        ids = merge(rankings, minima, self._shares, count, self._bounds(rankings, count), self._rule)
        best: dict[str, tuple[float, str, float]] = {}
        for candidates, share in zip(found, self._shares, strict=True):
            rows = zip(candidates.ids, candidates.source, candidates.score, strict=True)
            for place, (item, source, score) in enumerate(rows):
                points = share * (count - place)
                if item not in best or points > best[item][0]:
                    best[item] = points, source, score
        return Candidates(ids, [best[item][1] for item in ids], [best[item][2] for item in ids])

    def _bounds(self, rankings: Sequence[Sequence[str]], count: int) -> list[Bound]:
        """The items of each group among those found, and how many of them there must be."""
        if not self._groups or self._entities is None:
            return []
        items = list(dict.fromkeys(chain.from_iterable(rankings)))
        features, _ = self._entities.items(items)
        described = list(zip(items, features, strict=True))
        return [
            ({item for item, one in described if group.has(one)}, _places(group.share, count)) for group in self._groups
        ]

    def _ask(self, name: str, query: RetrievalQuery, count: int, exclude: AbstractSet[str]) -> Candidates:
        try:
            return self._sources[name].retrieve(query, count, exclude)
        except Exception as error:
            self.failures[name] += 1
            _logger.warning("candidates of source %r are missing: %s", name, error)
            return Candidates()


def _places(share: float, count: int) -> int:
    """Rounded down, but not for a product as that of .29 and 100, which is 28.999999999999996."""
    return int(count * share + 1e-6)
