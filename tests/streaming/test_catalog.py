"""Popularity and recency of items."""

import math
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import StateError
from streaming.catalog import Catalog
from streaming.join.labeled_impression import LabeledImpression

labels = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 50_000)), min_size=1, max_size=60)


@pytest.mark.slow
@given(labels, st.integers(1, 5))
def test_popularity_is_the_sum_of_decayed_labels(made: list[tuple[str, int]], count: int) -> None:
    """Whatever the order of the labels, and however often somebody looks in between."""
    catalog = Catalog(half_life=10_000)
    for item, time in made:
        catalog.positive(item, time)
        catalog.popular(count)
    expected = {i: math.fsum(2 ** (-(50_000 - t) / 10_000) for j, t in made if i == j) for i, _ in made}
    for item, value in expected.items():
        assert catalog.popularity(item, time=50_000) == pytest.approx(value)
    most = max(expected.values())
    best = sorted(expected.values(), reverse=True)[:count]
    assert [share for _, share in catalog.popular(count)] == pytest.approx([value / most for value in best])


@pytest.mark.slow
@given(labels, st.integers(1, 5))
def test_recent_items_are_those_first_seen_last(made: list[tuple[str, int]], count: int) -> None:
    catalog = Catalog(half_life=1)
    first: dict[str, int] = {}
    for item, time in made:
        catalog.seen([item], time)
        catalog.recent(count)
        first.setdefault(item, time)
    assert catalog.recent(count) == sorted(first.items(), key=lambda pair: (-pair[1], pair[0]))[:count]


whats = st.sampled_from(["seen", "positive", "withdrawn", "available"])
histories = st.lists(st.tuples(st.sampled_from("abcdefgh"), whats), min_size=1, max_size=60)


@pytest.mark.slow
@given(histories, st.integers(1, 5))
def test_a_withdrawn_item_is_nowhere_and_comes_back_as_if_it_had_not_been_away(
    history: list[tuple[str, str]], count: int
) -> None:
    """Beside a catalogue that hears of no withdrawals, and is asked for all items."""
    catalog, other, withdrawn = Catalog(half_life=10), Catalog(half_life=10), set[str]()
    for time, (item, what) in enumerate(history):
        for each in (catalog, other):
            each.seen([item], time)
            if what == "positive":
                each.positive(item, time)
        if what in ("withdrawn", "available"):
            catalog.available(item, time, is_so=what == "available")
            (withdrawn.discard if what == "available" else withdrawn.add)(item)
        for asked, all_of in ((catalog.popular, other.popular), (catalog.recent, other.recent)):
            left = [name for name, _ in all_of(100) if name not in withdrawn]
            assert [name for name, _ in asked(count)] == left[:count]


def test_the_latest_statement_counts_whatever_the_order_in_which_they_come() -> None:
    catalog = Catalog(half_life=10)
    catalog.available("a", 20, is_so=False)
    catalog.available("a", 10, is_so=True)
    catalog.seen(["a", "b"], 30)
    assert [item for item, _ in catalog.recent(5)] == ["b"]
    catalog.available("a", 40, is_so=True)
    catalog.available("a", 39, is_so=False)
    assert [item for item, _ in catalog.recent(5)] == ["b", "a"]


def test_a_full_catalog_goes_on_knowing_which_items_are_withdrawn_up_to_its_capacity() -> None:
    catalog = Catalog(half_life=10, capacity=10)
    for number in range(30):
        catalog.available(f"gone-{number}", number, is_so=False)
        catalog.seen([f"i{number}"], number)
    catalog.seen(["gone-19", "gone-20"], 40)
    assert [item for item, _ in catalog.recent(1)] == ["gone-19"]


def test_order_survives_decades() -> None:
    catalog = Catalog(half_life=1000)
    catalog.positive("old", time=0)
    catalog.positive("older", time=-5)
    catalog.positive("new", time=10**12)
    assert [item for item, _ in catalog.popular(3)] == ["new", "old", "older"]


def test_a_full_catalog_forgets_what_was_first_seen_longest_ago() -> None:
    catalog = Catalog(half_life=1000, capacity=10)
    for number in range(11):
        catalog.positive(f"i{number:02}", time=number)
    assert len(catalog) == 9
    assert {item for item, _ in catalog.popular(20)} == {f"i{number:02}" for number in range(2, 11)}


class LookedThrough(tuple[str, ...]):
    """Items that count how often all of them are looked at."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return super().__iter__()


def shown(items: tuple[str, ...], clicked: int, time: int) -> LabeledImpression:
    return LabeledImpression("r", time, "u", items, {}, {}, (), "", "", "", (clicked,), (1.0,), time, 1)


def test_clicks_of_a_long_list_do_not_look_through_it_again_until_items_are_forgotten() -> None:
    items = LookedThrough(f"i{n}" for n in range(100))
    catalog = Catalog(half_life=1000, capacity=120)
    for position in range(20):
        catalog.observe([shown(items, position, 5)])
    assert (items.times, len(catalog)) == (1, 100)
    catalog.seen([f"new{n}" for n in range(21)], time=9)
    assert len(catalog) < 121
    catalog.observe([shown(items, 0, 10)])
    assert items.times == 2
    assert all(item in catalog for item in items[:5])


def test_what_is_not_a_state_is_refused() -> None:
    for state in (b"", b"\xc1", Catalog(half_life=1).state()[:-1]):
        with pytest.raises(StateError, match="not a catalog's state"):
            Catalog(half_life=1).restore(state)


def test_state_is_all_of_it() -> None:
    catalog = Catalog(half_life=1000)
    catalog.positive("a", time=5)
    catalog.seen(["b"], time=7)
    catalog.positive("c", time=8)
    catalog.available("c", time=9, is_so=False)
    other = Catalog(half_life=1000)
    other.restore(catalog.state())
    assert other.popular(5) == catalog.popular(5)
    assert other.recent(5) == catalog.recent(5)
    for each in (catalog, other):
        each.available("c", time=8, is_so=True)
        assert [item for item, _ in each.popular(5)] == ["a"]
        each.available("c", time=10, is_so=True)
        assert [item for item, _ in each.popular(5)] == ["c", "a"]


def test_a_state_from_before_items_could_be_withdrawn_is_read() -> None:
    catalog = Catalog(half_life=1000)
    catalog.restore(msgspec.msgpack.encode({"weights": {"a": 1.0}, "first_seen": {"a": 5}}))
    assert catalog.recent(5) == [("a", 5)]


def test_what_is_shown_more_often_is_not_more_popular_for_that() -> None:
    """Two items are liked alike, by one in four; the policy shows the first one nine times as often, at the top."""
    plain, corrected, floored = (Catalog(1 << 40, min_propensity=least) for least in (1.0, 0.01, 0.5))
    for number in range(400):
        first = "a" if number % 40 < 36 else "b"
        chance = 0.9 if first == "a" else 0.1
        if number % 4 == 0:
            of = LabeledImpression("r", 0, "u", (first,), {}, {}, (chance,), "", "", "", (0,), (1.0,), 0, 1)
            for catalog in (plain, corrected, floored):
                catalog.observe([of])
    ratios = [one.popularity("a", 0) / one.popularity("b", 0) for one in (plain, corrected, floored)]
    assert ratios == pytest.approx([9, 1, 9 * 0.5 / 0.9])
    unlogged = Catalog(1 << 40, min_propensity=0.01)
    unlogged.observe([shown(("a",), 0, 0)])
    assert unlogged.popularity("a", 0) == pytest.approx(1)
