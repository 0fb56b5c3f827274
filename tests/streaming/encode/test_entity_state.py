from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import LogCorruptedError, StateError
from streaming.encode.entity_state import Changes, EntityState, LatestFeatures
from streaming.events.columns import ITEM
from streaming.events.schema import Features, ItemUpdate, UserUpdate
from streaming.ingest.codec import encode_events
from streaming.join.columns_to_rows import EntityUpdateRow, updates
from streaming.join.label_columns import label_columns
from streaming.join.labeled_impression import LabeledImpression

names = st.sampled_from(["a", "b", "c"])
changes = st.lists(st.tuples(st.integers(0, 20), st.dictionaries(names, st.integers(0, 99), max_size=3)), max_size=12)


@pytest.mark.slow
@given(changes, st.integers(0, 25))
def test_at_any_moment_the_newest_value_of_each_name_is_in_force(
    history: list[tuple[int, dict[str, int]]], moment: int
) -> None:
    latest = LatestFeatures(capacity=1, history=100)
    for time, features in history:
        latest.update("k", time, dict(features))
    expected: Features = {}
    for _, features in sorted(((t, f) for t, f in history if t <= moment), key=lambda change: change[0]):
        expected |= features
    assert latest.at("k", moment) == expected


@given(changes, st.integers(0, 20))
def test_forgetting_old_versions_does_not_show_within_the_history(
    changes: list[tuple[int, dict[str, int]]], history: int
) -> None:
    forgetful, thorough = LatestFeatures(1, history), LatestFeatures(1, 1000)
    for time, features in changes:
        for latest in (forgetful, thorough):
            latest.update("k", time, dict(features))
    clock = max((time for time, _ in changes), default=0)
    for moment in range(max(clock - history, 0), clock + 2):
        assert forgetful.at("k", moment) == thorough.at("k", moment)


def test_the_least_recently_used_goes_first_and_is_counted() -> None:
    latest = LatestFeatures(capacity=2, history=0)
    latest.update("a", 1, {"x": 1})
    latest.update("b", 2, {"x": 2})
    latest.at("a", 9)
    latest.update("c", 3, {"x": 3})
    assert [latest.at(key, 9) for key in "abc"] == [{"x": 1}, {}, {"x": 3}]
    assert (len(latest), latest.evicted) == (2, 1)


def test_updates_in_a_batch_reach_their_side_in_the_order_of_the_log() -> None:
    entities = EntityState(capacity=10)
    batch = encode_events(
        [
            UserUpdate(time=5, user="k", features={"age": 5}),
            ItemUpdate(time=5, item="k", features={"age": 6}),
            UserUpdate(time=5, user="k", features={"age": 7, "tags": ["a", 1]}),
        ]
    )
    for update in updates(batch):
        entities.apply(update)
    assert entities.users.at("k", 5) == {"age": 7, "tags": ["a", 1]}
    assert entities.items.at("k", 5) == {"age": 6}
    assert entities.counters == {"users": 1, "items": 1, "evicted_users": 0, "evicted_items": 0}


def test_an_example_gets_what_was_known_when_it_was_shown() -> None:
    entities = EntityState(capacity=10, history=100)
    entities.users.update("u", 10, {"clicks": 1})
    entities.users.update("u", 30, {"clicks": 2})
    entities.items.update("y", 30, {"price": 3})
    example = LabeledImpression("A", 20, "u", ("x", "y"), {}, {}, (), "", "", "", (1,), (0.0,), 40, 1)
    labels = label_columns([example])
    entities.resolve_all(labels)
    assert (labels.latest_users_I, labels.latest_items_B) == ([{"clicks": 1}], [{}])


def test_changes_are_drained_once_and_can_be_put_back() -> None:
    entities = EntityState(capacity=2)
    entities.users.update("u", 1, {"a": 1})
    entities.users.update("u", 2, {"b": 2})
    entities.items.update("i", 1, {})
    drained = entities.drain_changes()
    assert drained == (Changes({"u": {"a": 1, "b": 2}}), Changes({"i": {}}))
    assert entities.drain_changes() == (Changes(), Changes())
    entities.users.update("u", 3, {"a": 3})
    entities.restore_changes(*drained)
    assert entities.drain_changes() == (Changes({"u": {"a": 3, "b": 2}}), Changes({"i": {}}))


def test_what_was_evicted_is_told_until_it_is_known_again() -> None:
    entities = EntityState(capacity=1)
    entities.users.update("u", 1, {"a": 1})
    entities.drain_changes()
    entities.users.update("v", 1, {"a": 2})
    evicted = Changes({"v": {"a": 2}}, ["u"])
    drained = entities.drain_changes()
    assert drained == (evicted, Changes())
    entities.restore_changes(*drained)
    assert entities.drain_changes() == (evicted, Changes())
    entities.users.update("u", 2, {"a": 3})
    entities.restore_changes(*drained)
    assert entities.drain_changes() == (Changes({"u": {"a": 3}}, ["v"]), Changes())


def test_what_is_evicted_between_a_drain_and_its_failure_is_told_too() -> None:
    entities = EntityState(capacity=1)
    entities.users.update("u", 1, {"a": 1})
    drained = entities.drain_changes()
    entities.users.update("v", 1, {"a": 2})
    entities.restore_changes(*drained)
    assert entities.drain_changes() == (Changes({"v": {"a": 2}}, ["u"]), Changes())


def test_evictions_that_nobody_drains_become_one_full_change() -> None:
    entities = EntityState(capacity=3)
    for number in range(100):
        entities.items.update(f"i{number}", number, {})
    _, items = entities.drain_changes()
    assert items == Changes({"i97": {}, "i98": {}, "i99": {}}, full=True)
    entities.restore_changes(Changes(), items)
    assert entities.drain_changes()[1] == items


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from("uvw"), st.integers(0, 9), st.integers(0, 9)), max_size=12), st.data())
def test_a_restored_state_goes_on_alike(steps: list[tuple[str, int, int]], data: st.DataObject) -> None:
    original, restored = EntityState(2, history=3), EntityState(2, history=3)
    cut = data.draw(st.integers(0, len(steps)))
    for number, (key, time, value) in enumerate(steps):
        if number == cut:
            restored.restore(original.state())
        for entities in (original, restored):
            entities.users.at(key, time - 1)
            entities.users.update(key, time, {"x": value})
    if cut < len(steps):
        assert restored.state() == original.state()
        assert restored.counters == original.counters


def test_after_a_restore_everything_counts_as_changed() -> None:
    entities, restored = EntityState(capacity=2), EntityState(capacity=2)
    entities.users.update("u", 1, {"a": 1})
    entities.drain_changes()
    restored.restore(entities.state())
    assert restored.drain_changes() == (Changes({"u": {"a": 1}}, full=True), Changes(full=True))


def test_an_unreadable_update_in_the_log_is_reported_with_its_owner() -> None:
    with pytest.raises(LogCorruptedError, match="the update of 'x' in the log has unreadable features"):
        EntityState(1).apply(EntityUpdateRow(row=0, kind=ITEM, time=1, key="x", features=b"["))


def test_wrong_states_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="capacity is 0"):
        EntityState(0)
    with pytest.raises(StateError, match="not the state of entities"):
        EntityState(1).restore(b"\x92\x01\x02")
