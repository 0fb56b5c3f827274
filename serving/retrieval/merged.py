"""Several sources as one."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from recsys.errors import InvalidValueError
from serving.limits import check_shares
from serving.retrieval.retriever import Candidates, RetrievalQuery, Retriever

_logger = logging.getLogger(__name__)


class MergedRetriever:
    """Candidates of `sources`, by name, of each at least its share in `shares` if it has as many.

    A source without a share is not asked. One that fails is left out and counted in `failures`: it must not cost the
    answer. Raises InvalidValueError for shares that cannot be met or of which there is no source.
    """

    def __init__(self, sources: Mapping[str, Retriever], shares: Mapping[str, float]) -> None:
        check_shares(shares, sources.keys())
        self._sources = {name: source for name, source in sources.items() if shares.get(name, 0) > 0}
        self._shares = [shares[name] for name in self._sources]
        self.failures: Counter[str] = Counter()

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        """The source and the score of an item are those of the source that gives it the most points (`merge`)."""
        found = [self._ask(name, query, count, exclude) for name in self._sources]
        minima = [int(count * share) for share in self._shares]
        ids = merge([candidates.ids for candidates in found], minima, self._shares, count)
        best: dict[str, tuple[float, str, float]] = {}
        for candidates, share in zip(found, self._shares, strict=True):
            rows = zip(candidates.ids, candidates.source, candidates.score, strict=True)
            for place, (item, source, score) in enumerate(rows):
                points = share * (count - place)
                if item not in best or points > best[item][0]:
                    best[item] = points, source, score
        return Candidates(ids, [best[item][1] for item in ids], [best[item][2] for item in ids])

    def _ask(self, name: str, query: RetrievalQuery, count: int, exclude: AbstractSet[str]) -> Candidates:
        try:
            return self._sources[name].retrieve(query, count, exclude)
        except Exception as error:
            self.failures[name] += 1
            _logger.warning("candidates of source %r are missing: %s", name, error)
            return Candidates()


def merge(rankings: Sequence[Sequence[str]], minima: Sequence[int], weights: Sequence[float], count: int) -> list[str]:
    r"""At most `count` items, most valuable first, of each ranking at least its minimum, or all of it if it is shorter.

    value(item) = sum_s w_s (count - place of the item in ranking s, from 0)

    That is a k-Borda rule with lower bounds (Boehmer et al., ICML 2023), chosen greedily: first the most valuable items
    of each ranking whose minimum is not met, then the most valuable of all. No other choice has a greater value if the
    rankings have no item in common. Of equal values the first one counts, and of an item that is in a ranking
    twice its first place. Raises InvalidValueError if the minima add up to more than `count`.

    >>> merge([["a", "b", "c"], ["x", "y"]], [1, 1], [1.0, 0.4], 3)
    ['a', 'b', 'x']
    """
    if sum(minima) > count:
        raise InvalidValueError(f"the minima add up to {sum(minima)}, but {count} items are asked for: lower them")
    rankings = [list(dict.fromkeys(ranking)) for ranking in rankings]
    value: dict[str, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for place, item in enumerate(ranking):
            value[item] = value.get(item, 0.0) + weight * (count - place)
    chosen: dict[str, None] = {}
    for ranking, minimum in zip(rankings, minima, strict=True):
        missing = min(minimum, len(ranking)) - sum(item in chosen for item in ranking)
        wanted = sorted((item for item in ranking if item not in chosen), key=value.__getitem__, reverse=True)
        chosen |= dict.fromkeys(wanted[: max(missing, 0)])
    rest = sorted((item for item in value if item not in chosen), key=value.__getitem__, reverse=True)
    chosen |= dict.fromkeys(rest[: count - len(chosen)])
    return sorted(chosen, key=value.__getitem__, reverse=True)
