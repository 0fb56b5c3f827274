"""Long lists with many clicks: labels as a plain model has them, in work that is linear."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming.join.open_impression import SHORT, OpenImpression, _all_negative


class CountedItem(str):
    """An item that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        CountedItem.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def opened(items: tuple[str, ...]) -> OpenImpression:
    return OpenImpression("A", 0, "u", items, None, None, (), None, None, None)


def test_clicks_on_a_long_list_do_not_search_it() -> None:
    items = tuple(CountedItem(f"item-{n}") for n in range(2000))
    shown = opened(items)
    CountedItem.compared = 0
    assert [shown.position(f"item-{n}") for n in range(2000)] == list(range(2000))
    assert shown.position("item-x") == -1
    assert CountedItem.compared < 3 * len(items)


lists = st.lists(st.integers(0, 2 * SHORT).map(str), min_size=1, max_size=3 * SHORT).map(tuple)


@given(lists, st.lists(st.integers(0, 2 * SHORT).map(str), max_size=2 * SHORT))
def test_labels_are_those_of_a_plain_model(items: tuple[str, ...], clicks: list[str]) -> None:
    """Also where an item stands twice: the first position has its label."""
    shown, first = opened(items), {item: items.index(item) for item in items}
    assert [shown.position(item) for item in clicks] == [first.get(item, -1) for item in clicks]
    decided = {first[item]: "click" for item in clicks if item in first}
    shown.decided = decided
    left = tuple(position for position in range(len(items)) if position not in decided)
    assert shown.undecided() == (left, (0.0,) * len(left))


def test_of_many_lengths_few_are_kept() -> None:
    for count in range(1, 500):
        opened(("x",) * count).undecided()
    assert _all_negative.cache_info().currsize <= 64
