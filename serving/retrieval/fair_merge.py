"""Rankings as one list, in which every ranking and every group of items has a minimum of places."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from recsys.errors import InvalidValueError

Rule = Literal["borda", "chamberlin_courant"]
Bound = tuple[Collection[str], int]
"""Items, and how many of them there must be, or all of them if they are fewer."""


def merge(
    rankings: Sequence[Sequence[str]],
    minima: Sequence[int],
    weights: Sequence[float],
    count: int,
    groups: Sequence[Bound] = (),
    rule: Rule = "borda",
) -> list[str]:
    r"""At most `count` items, most valuable first, of each ranking at least its minimum, or all of it if it is shorter.

    value(item) = sum_s w_s max(0, count - place of the item in ranking s, from 0)

    That is a k-Borda rule with lower bounds (Boehmer et al., ICML 2023), chosen greedily: first the most valuable items
    of each ranking whose minimum is not met, then of each of `groups`, then the most valuable of all. No other choice
    has a greater value if no item is in two of these. Of equal values the first one counts, and of an item that is in a
    ranking twice its first place. With the rule `chamberlin_courant` those come first that `represent` every ranking.
    Raises InvalidValueError if the minima add up to more than `count`.

    >>> merge([["a", "b", "c"], ["x", "y"]], [1, 1], [1.0, 0.4], 3)
    ['a', 'b', 'x']
    >>> merge([["a", "b", "c"], ["x", "y"]], [1, 0], [1.0, 0.4], 3, groups=[({"c", "y"}, 2)])
    ['a', 'c', 'y']
    """
    total = sum(minima) + sum(minimum for _, minimum in groups)
    if total > count:
        raise InvalidValueError(f"the minima add up to {total}, but {count} items are asked for: lower them")
    rankings = [list(dict.fromkeys(ranking)) for ranking in rankings]
    value = _values(rankings, weights, count)
    bounds: list[Bound] = [*zip(rankings, minima, strict=True)]
    bounds += [([item for item in value if item in members], minimum) for members, minimum in groups]
    chosen: dict[str, None] = {}
    if rule == "chamberlin_courant":
        chosen = dict.fromkeys(represent(rankings, weights, count, bounds))
    for members, minimum in bounds:
        missing = min(minimum, len(members)) - sum(item in chosen for item in members)
        if missing > 0:
            wanted = sorted((item for item in members if item not in chosen), key=value.__getitem__, reverse=True)
            chosen |= dict.fromkeys(wanted[:missing])
    rest = sorted((item for item in value if item not in chosen), key=value.__getitem__, reverse=True)
    chosen |= dict.fromkeys(rest[: count - len(chosen)])
    return sorted(chosen, key=value.__getitem__, reverse=True)


def represent(
    rankings: Sequence[Sequence[str]], weights: Sequence[float], count: int, bounds: Sequence[Bound] = ()
) -> list[str]:
    r"""Items that greedily raise the score of Chamberlin and Courant (1983), until it is as high as it can be.

    score(S) = sum_s w_s max_{i in S} (count - place of i in ranking s, from 0)

    So one item that several rankings have near their top represents them all. It is submodular, so each prefix of the
    list reaches at least 1 - 1/e of what as many items can, if no bound is in the way: an item is left out where it
    would take a place that `bounds` need.

    >>> represent([["a", "b"], ["x", "b"], ["b"]], [1.0, 1.0, 1.0], 3)
    ['b', 'a', 'x']
    """
    pairs = list(zip(rankings, weights, strict=True))
    points = [{item: w * (count - at) for at, item in enumerate(ranking[:count])} for ranking, w in pairs]
    left = dict.fromkeys(item for ranking in points for item in ranking)
    reached, chosen = [0.0] * len(points), list[str]()
    while left and len(chosen) < count:
        gains = {item: _gain(points, reached, item) for item in left}
        best = max(gains, key=gains.__getitem__)
        if gains[best] <= 0:
            break
        del left[best]
        if _missing(bounds, [*chosen, best]) <= count - len(chosen) - 1:
            chosen.append(best)
            reached = [max(one, own.get(best, 0.0)) for one, own in zip(reached, points, strict=True)]
    return chosen


def _gain(points: Sequence[dict[str, float]], reached: Sequence[float], item: str) -> float:
    return sum(max(own.get(item, 0.0) - one, 0.0) for own, one in zip(points, reached, strict=True))


def _missing(bounds: Iterable[Bound], chosen: Collection[str]) -> int:
    """Places that the bounds need beside what is chosen, if no further item counts for two of them."""
    needs = (min(minimum, len(members)) - sum(item in members for item in chosen) for members, minimum in bounds)
    return sum(max(need, 0) for need in needs)


def _values(rankings: Sequence[Sequence[str]], weights: Sequence[float], count: int) -> dict[str, float]:
    value: dict[str, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for place, item in enumerate(ranking):
            value[item] = value.get(item, 0.0) + weight * max(count - place, 0)
    return value
