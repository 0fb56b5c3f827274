"""Items that the same users click within a window."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import StateError
from streaming.catalog import Catalog
from streaming.co_visits import CoVisitBounds, CoVisits, VisitChanges
from streaming.observers import Observers

WINDOW, HALF_LIFE, BOUNDS = 20, 64, CoVisitBounds()
Click = tuple[str, str, int]
clicks = st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("abcde"), st.integers(0, 100)), max_size=18)


def made(log: list[Click], bounds: CoVisitBounds = BOUNDS) -> CoVisits:
    visits = CoVisits("abcdefgh", WINDOW, HALF_LIFE, bounds)
    for user, item, time in log:
        visits.click(user, item, time)
    return visits


def brute_force(log: list[Click]) -> dict[str, dict[str, float]]:
    """Cosines by counting all pairs of distinct clicks as of the last one."""
    end = max((time for _, _, time in log), default=0)
    count: dict[str, float] = defaultdict(float)
    pairs: dict[tuple[str, str], float] = defaultdict(float)
    for _, item, time in set(log):
        count[item] += 0.5 ** ((end - time) / HALF_LIFE)
    for (user, one, time), (other_user, two, at) in combinations(set(log), 2):
        if user == other_user and one != two and abs(time - at) <= WINDOW:
            pairs[min(one, two), max(one, two)] += 0.5 ** ((end - max(time, at)) / HALF_LIFE)
    found: dict[str, dict[str, float]] = {item: {} for item in count}
    for (one, two), weight in pairs.items():
        found[one][two] = found[two][one] = weight / math.sqrt(count[one] * count[two])
    return found


def affinities(visits: CoVisits, items: str = "abcde") -> dict[str, dict[str, float]]:
    return {item: dict(visits.neighbours(item)) for item in items}


@settings(max_examples=40)
@given(log=clicks, data=st.data())
def test_affinities_are_those_of_a_count_over_all_pairs_in_any_order_with_any_repetition(
    log: list[Click], data: st.DataObject
) -> None:
    expected = {item: brute_force(log).get(item, {}) for item in "abcde"}
    late_and_twice = data.draw(st.permutations([*log, *log[:5]]))
    for found in (affinities(made(log)), affinities(made(late_and_twice))):
        assert found == {item: pytest.approx(of, rel=1e-9) for item, of in expected.items()}


def test_a_window_has_its_end_and_no_more() -> None:
    visits = made([("u", "a", 0), ("u", "b", WINDOW), ("u", "c", WINDOW + 1), ("v", "d", 0)])
    assert [item for item, _ in visits.neighbours("a")] == ["b"]
    assert visits.neighbours("d") == []


def test_the_users_latest_items_are_ordered_by_event_time_whatever_the_order_of_arrival() -> None:
    assert made([("u", "a", 5), ("u", "b", 9), ("u", "c", 1), ("u", "a", 3)]).recent("u") == ["b", "a", "c"]


def test_resumed_from_its_state_it_goes_on_to_the_same_bytes() -> None:
    names = zip("uvwuvwuvwu" * 3, "abcdefgabd" * 3, strict=True)
    log = [(user, item, 7 * n % 50) for n, (user, item) in enumerate(names)]
    bounds = CoVisitBounds(items=5, users=2, neighbours=2, clicks=4)
    whole = made(log, bounds)
    resumed = CoVisits("abcdefgh", WINDOW, HALF_LIFE, bounds)
    resumed.restore(made(log[:13], bounds).state())
    for user, item, time in log[13:]:
        resumed.click(user, item, time)
    assert resumed.state() == whole.state()
    assert resumed.drain_changes() == whole.drain_changes()


@settings(max_examples=30)
@given(log=clicks)
def test_no_bound_is_passed_and_both_directions_agree(log: list[Click]) -> None:
    visits = made(log, CoVisitBounds(items=3, users=2, neighbours=1, clicks=2))
    state = msgspec.msgpack.decode(visits.state())
    assert len(state["counts"]) <= 3
    assert len(state["clicks"]) <= 2
    assert all(len(own) <= 2 for own in state["clicks"].values())
    assert all(len(of) <= 1 for of in state["pairs"].values())
    assert all(state["pairs"][two][one] == c for one, of in state["pairs"].items() for two, c in of.items())


def drained(visits: CoVisits) -> dict[str, VisitChanges]:
    return {one.kind: one for one in visits.drain_changes()}


def test_a_drain_has_what_changed_and_again_what_could_not_be_written() -> None:
    visits = made([("u", "a", 1), ("v", "c", 1)])
    first = drained(visits)
    assert first["user"].full
    assert set(first["user"].records) == {"u", "v"}
    assert not any(one.records for one in drained(visits).values())
    visits.click("u", "b", 2)
    changed = visits.drain_changes()
    assert [set(one.records) for one in changed] == [{"u"}, {"a", "b"}]
    visits.restore_changes(changed)
    assert visits.drain_changes() == changed
    visits.restore_changes(first.values())
    assert drained(visits)["item"].full


def test_a_withdrawn_item_leaves_all_records_and_comes_back_with_its_counts() -> None:
    catalog = Catalog(half_life=100)
    visits = CoVisits(catalog, WINDOW, HALF_LIFE)
    both = Observers(catalog, visits)
    both.seen(["a", "b"], 1)
    visits.click("u", "a", 1)
    visits.click("u", "b", 2)
    before = drained(visits)["item"].records
    both.available("b", 3, is_so=False)
    gone = drained(visits)["item"]
    assert (gone.records, gone.removed) == ({"a": b"[]"}, ["b"])
    both.available("b", 4, is_so=True)
    assert drained(visits)["item"].records == before


def test_bytes_that_are_no_state_are_refused() -> None:
    for state in (b"", b"\xc1", made([("u", "a", 1)]).state()[:-1]):
        with pytest.raises(StateError, match="not a state of co-visits"):
            made([]).restore(state)
