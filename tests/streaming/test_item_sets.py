"""Sets of items by their features, and the records that servers read of them."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.encode.entity_state import Changes, LatestFeatures
from streaming.item_sets import ItemSets, Members, SetChanges

ITEMS, NAMES = "abcdef", ["p", "q", "r"]
values = st.one_of(st.none(), st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3), st.just(7))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.sampled_from(ITEMS), values),
        st.tuples(st.just("withdraw"), st.sampled_from(ITEMS), st.booleans()),
        st.tuples(st.sampled_from(["publish", "fail", "all"]), st.none(), st.none()),
    ),
    max_size=30,
)


class Reader:
    """Has what was published, as Redis does."""

    def __init__(self) -> None:
        self.sets: dict[str, Members] = {}

    def apply(self, changes: SetChanges) -> None:
        if changes.full:
            self.sets = {}
        for name in changes.removed:
            self.sets.pop(name, None)
        self.sets |= {name: msgspec.json.decode(record, type=Members) for name, record in changes.records.items()}


@given(steps)
@settings(max_examples=80)
def test_a_reader_has_what_the_latest_features_say(steps: list[tuple[str, str, object]]) -> None:
    latest, available, reader = LatestFeatures(4, 0), set(ITEMS), Reader()
    sets = ItemSets("in", available, members=2)
    for time, (what, item, value) in enumerate([*steps, ("publish", "", None)]):
        if what == "update":
            latest.update(item, time, {"in": value})  # type: ignore[dict-item]
        elif what == "withdraw":
            (available.add if value else available.discard)(item)
            sets.available(item, time, is_so=bool(value))
        elif what == "all":
            latest.change_all()
            sets.change_all()
        else:
            sets.update(latest.drain_changes())
            changes = sets.drain_changes()
            sets.restore_changes(changes) if what == "fail" else reader.apply(changes)
    known = {item: latest.latest(item).get("in") for item in ITEMS}
    of_item = {
        item: {str(one) for one in (value if isinstance(value, list) else [value])}
        for item, value in known.items()
        if value is not None
    }
    members = {
        name: sorted((len(names), item) for item, names in of_item.items() if name in names and item in available)
        for name in [*NAMES, "7"]
    }
    assert reader.sets == {name: [(item, n) for n, item in found[:2]] for name, found in members.items() if found}
    assert len(sets) == len(set().union(*of_item.values()))


def test_an_update_of_other_features_changes_no_set() -> None:
    sets = ItemSets("in", {"a"}, members=10)
    sets.update(Changes({"a": {"in": ["p"]}}))
    sets.drain_changes()
    sets.update(Changes({"a": {"in": ["p"], "price": 3}}))
    assert sets.drain_changes() == SetChanges({}, [], full=False)


def test_names_of_sets_that_are_gone_are_bounded_while_nobody_drains() -> None:
    sets = ItemSets("in", {"a"}, members=10)
    sets.drain_changes()
    for number in range(30_000):
        sets.update(Changes({"a": {"in": [f"p{number}"]}}))
    changes = sets.drain_changes()
    assert changes.full
    assert list(changes.records) == ["p29999"]
