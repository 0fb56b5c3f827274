"""The joiner against a table worked out by hand, an offline join, and its own promises."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import LogCorruptedError, StateError
from streaming.events.columns import IMPRESSION
from streaming.events.schema import EVENT_SCHEMA, Event, Impression, Interaction, ItemUpdate, UserUpdate
from streaming.ingest.codec import encode_events
from streaming.join import joiner as joiner_module
from streaming.join.joiner import Joiner, LabeledImpression, LabelRule, Labels
from streaming.join.joiner_state import JoinerState
from streaming.join.tables.kept_texts import free_keys
from streaming.join.tables.layout import Tables
from tests.streaming.fixed_age import FixedAge


class Emitted(NamedTuple):
    id: str
    positions: tuple[int, ...]
    labels: tuple[float, ...]
    decided: int
    sequence: int
    learned: bool = False


def shown(id_: str, time: int, *items: str) -> Impression:
    return Impression(id=id_, time=time, user="u", items=list(items))


def acted(impression: str, item: str, time: int, action: str = "click", value: float = 1.0) -> Interaction:
    return Interaction(time=time, impression=impression, item=item, action=action, value=value)


def emitted(impressions: Sequence[LabeledImpression]) -> list[Emitted]:
    return [Emitted(e.id, e.positions, e.labels, e.decided, e.sequence, e.learned) for e in impressions]


def run(joiner: Joiner, events: Sequence[Event]) -> list[Emitted]:
    return emitted([*joiner.push(encode_events(events)), *joiner.flush()])


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("labels", ["paced", "held"])
def test_every_shown_item_has_its_label_or_waits_for_it(labels: Labels) -> None:
    joiner = Joiner(LabelRule(frozenset({"click"})), wait=100, lateness=10, labels=labels)
    lists = shown("A", 0, "x", "y", "z"), shown("B", 50, "m", "n")
    events: tuple[Event, ...] = (lists[0], acted("A", "y", 5), lists[1], acted("B", "m", 50))
    given = 0
    for event, items in zip(events, (3, 3, 5, 5), strict=True):
        out = joiner.push(encode_events([event]))
        given += sum(len(one.positions) for one in out if not one.learned)
        assert given + joiner.unlabelled == items
    assert joiner.unlabelled == (1 if labels == "paced" else 5)
    joiner.flush()
    assert joiner.unlabelled == 0


PACED = [  # no delay of a click is known, so silence is learned as soon as time moves on
    Emitted("A", (0, 1, 2), (0.0, 0.0, 0.0), decided=1, sequence=2),
    Emitted("A", (1,), (1.0,), decided=50, sequence=2, learned=True),
    Emitted("B", (0,), (1.0,), decided=95, sequence=9),
    Emitted("B", (1,), (0.0,), decided=96, sequence=10),
]
HELD = [
    Emitted("A", (0, 1, 2), (0.0, 1.0, 0.0), decided=111, sequence=10),
    Emitted("B", (0, 1), (1.0, 0.0), decided=203, sequence=16),
]


@pytest.mark.parametrize(("labels", "corrected", "expected"), [("paced", 1, PACED), ("held", 0, HELD)])
def test_a_table_worked_out_by_hand(labels: Labels, corrected: int, expected: list[Emitted]) -> None:
    joiner = Joiner(LabelRule(frozenset({"click", "buy"})), wait=100, lateness=10, labels=labels)
    events: list[Event] = [
        shown("A", 0, "x", "y", "z"),
        acted("A", "y", 50),  # decides y
        acted("A", "y", 60),  # again: duplicate
        acted("A", "y", 70, "buy"),  # y has its label: a duplicate label
        acted("A", "q", 80),  # A did not show q
        acted("A", "x", 85, "view"),  # decides nothing
        shown("A", 90, "x", "y", "z"),  # again: duplicate
        acted("B", "m", 95),  # B is not there yet: held
        shown("B", 92, "m", "n"),  # and here it is; the clock stands at 95
        ItemUpdate(time=111, item="x", features={}),  # watermark 101: A's window, up to 100, closes
        acted("A", "x", 112),  # after the window
        acted("A", "z", 99),  # in the window, but it has closed
        acted("C", "k", 101),  # older than the watermark, 102: nothing to wait for
        acted("D", "k", 112),  # held
        shown("E", 1, "k"),  # its window closed before it came
        UserUpdate(time=123, user="u", features={}),  # watermark 113: D is given up
    ]
    assert run(joiner, events) == expected
    assert nonzero(joiner.counts) == {
        "impressions": 2,
        "duplicate_impressions": 1,
        "late_impressions": 1,
        "joined": 2,
        "duplicates": 1,
        "duplicate_labels": 1,
        "late": 2,
        "unmatched": 2,
        "unknown_items": 1,
        "ignored": 1,
        "updates": 2,
    }
    assert joiner.tallies == {
        "positives": 2,
        "negatives": 3,
        "corrected": corrected,
        "closed": 2,
        "closed_early": 0,
        "forgotten": 0,
    }


def test_a_labeled_impression_carries_what_the_impression_had() -> None:
    joiner = Joiner(LabelRule(), wait=10, lateness=0)
    impression = Impression(
        id="A",
        time=5,
        user="u",
        items=["x", "y"],
        features={"country": "DE", "tags": ["a", 1], "age": 3.5, "new": True, "none": None},
        item_features={"price": [1, 2.5]},
        propensities=[0.75, 0.25],
        experiment="colour",
        arm="red",
        model="m1",
    )
    [labeled] = [*joiner.push(encode_events([impression])), *joiner.flush()]
    fields = ("id", "time", "user", "features", "item_features", "experiment", "arm", "model")
    assert [getattr(labeled, name) for name in fields] == [getattr(impression, name) for name in fields]
    assert (labeled.items, labeled.propensities) == (("x", "y"), (0.75, 0.25))


def test_features_are_the_same_of_each_label_and_a_state_in_between_changes_nothing() -> None:
    joiner = Joiner(LabelRule(), wait=10, lateness=0, delays=FixedAge(10))
    impression = Impression(
        id="A", time=5, user="u", items=["x", "y"], features={"age": 3.5}, item_features={"price": [1, 2.5]}
    )
    [clicked] = joiner.push(encode_events([impression, acted("A", "x", 6)]))
    restored = Joiner(LabelRule(), wait=10, lateness=0)
    restored.restore(joiner.state())
    [silent], [same] = joiner.flush(), restored.flush()
    assert silent.features == clicked.features == impression.features
    assert silent.item_features == clicked.item_features
    assert (silent.features, silent.item_features) == (impression.features, impression.item_features)
    assert same == silent


def test_a_low_value_is_an_explicit_negative_known_at_once() -> None:
    joiner = Joiner(LabelRule(frozenset({"rate"}), min_value=4.0), wait=100, lateness=0, delays=FixedAge(50))
    events: list[Event] = [
        shown("A", 0, "x", "y", "z"),
        acted("A", "x", 1, "rate", 2.0),
        acted("A", "y", 2, "rate", 4.0),
    ]
    assert [(e.positions, e.labels, e.decided) for e in run(joiner, events)] == [
        ((0,), (0.0,), 1),
        ((1,), (1.0,), 2),
        ((2,), (0.0,), 101),
    ]


def test_a_low_value_after_silence_was_learned_tells_nothing_new() -> None:
    rule = LabelRule(frozenset({"rate"}), min_value=4.0)
    joiner = Joiner(rule, wait=100, lateness=0, delays=FixedAge(5))
    events: list[Event] = [shown("A", 0, "x", "y"), acted("A", "x", 8, "rate", 2.0), acted("A", "y", 9, "rate", 5.0)]
    assert run(joiner, events) == [
        Emitted("A", (0, 1), (0.0, 0.0), decided=6, sequence=2),
        Emitted("A", (1,), (1.0,), decided=9, sequence=3, learned=True),
    ]
    assert (joiner.tallies["positives"], joiner.tallies["negatives"], joiner.tallies["corrected"]) == (1, 1, 1)


def test_what_becomes_known_while_no_event_comes_comes_out_in_order() -> None:
    joiner = Joiner(LabelRule(), wait=20, lateness=0, delays=FixedAge(10))
    events: list[Event] = [shown("A", 0, "x"), shown("B", 8, "x"), acted("B", "x", 9), shown("C", 15, "x")]
    joiner.push(encode_events(events))
    later = emitted(joiner.push(encode_events([shown("D", 100, "x")])))
    assert later == [Emitted("C", (0,), (0.0,), decided=26, sequence=5)]
    assert joiner.tallies["closed"] == 3


def test_without_a_wait_an_interaction_of_the_same_millisecond_is_in_time() -> None:
    joiner = Joiner(LabelRule(), wait=0, lateness=0)
    events: list[Event] = [shown("A", 7, "x", "y"), acted("A", "x", 7), shown("B", 8, "x"), acted("A", "y", 7)]
    assert run(joiner, events) == [
        Emitted("A", (0,), (1.0,), 7, 2),
        Emitted("A", (1,), (0.0,), 8, 3),
        Emitted("B", (0,), (0.0,), 9, 4),
    ]
    assert joiner.counts["late"] == 1


def test_held_interactions_become_known_together_with_their_impression() -> None:
    joiner = Joiner(LabelRule(), wait=100, lateness=50)
    early = [acted("A", "y", 30), acted("A", "x", 20), acted("A", "x", 20), acted("A", "nowhere", 25)]
    joiner.push(encode_events(early))
    assert joiner.counts["held"] == 4
    assert run(joiner, [shown("A", 10, "x", "y", "z")]) == [
        Emitted("A", (1, 0), (1.0, 1.0), 30, 5),
        Emitted("A", (2,), (0.0,), 161, 5),
    ]
    counts = {"impressions": 1, "joined": 2, "duplicates": 1, "unknown_items": 1}
    assert nonzero(joiner.counts) == counts


def test_the_oldest_impression_closes_early_when_too_many_wait() -> None:
    joiner = Joiner(LabelRule(), wait=1000, lateness=0, max_pending=2, delays=FixedAge(1000))
    events: list[Event] = [
        shown("A", 5, "x"),
        shown("B", 3, "x"),
        shown("C", 6, "x"),
        acted("B", "x", 7),
        shown("B", 7, "x"),
    ]
    assert run(joiner, events)[0] == Emitted("B", (0,), (0.0,), decided=6, sequence=3)
    assert joiner.tallies["closed_early"] == 1
    assert (joiner.counts["late"], joiner.counts["duplicate_impressions"]) == (1, 1)


def test_interactions_held_are_bounded_too() -> None:
    joiner = Joiner(LabelRule(), wait=1000, lateness=1000, max_pending=2)
    joiner.push(encode_events([acted(name, "x", time) for name, time in (("A", 3), ("B", 2), ("C", 4))]))
    assert nonzero(joiner.counts) == {"unmatched": 1, "held": 2}
    joiner.push(encode_events([shown("B", 1, "x"), shown("A", 1, "x")]))
    assert joiner.tallies["positives"] == 1  # A's was kept, B's was the oldest


def test_memory_of_closed_impressions_ends() -> None:
    joiner = Joiner(LabelRule(), wait=10, lateness=5, memory=100)
    joiner.push(encode_events([shown("A", 0, "x"), shown("B", 16, "x"), acted("A", "x", 116)]))
    assert joiner.counts["late"] == 1
    joiner.push(encode_events([shown("C", 200, "x"), shown("D", 220, "x"), acted("A", "x", 220)]))
    assert (joiner.counts["late"], joiner.counts["held"]) == (1, 1)  # as if there had never been an A


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wait": -1}, "wait is -1; it must be at least 0"),
        ({"lateness": -1}, "lateness is -1"),
        ({"max_pending": 0}, "max_pending is 0; it must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Joiner(LabelRule(), **{"wait": 1, "lateness": 1, "max_pending": 1} | settings)


def test_a_rule_without_actions_is_refused() -> None:
    with pytest.raises(ValueError, match="name at least one action"):
        LabelRule(frozenset())


def test_unreadable_features_in_the_log_are_reported_with_their_impression() -> None:
    row = {"kind": IMPRESSION, "id": "A", "time": 1, "user": "u", "items": ["x"], "features": b'{"a": '}
    joiner = Joiner(LabelRule(), wait=0, lateness=0)
    joiner.push(pa.RecordBatch.from_pylist([row], EVENT_SCHEMA))
    with pytest.raises(LogCorruptedError, match="impression 'A' in the log has unreadable features"):
        joiner.flush()


def test_what_is_not_a_state_is_refused() -> None:
    joiner = Joiner(LabelRule(), wait=1, lateness=1)
    for state in (b"", b"\xc1", joiner.state()[:-3], b'{"clock": 1}'):
        with pytest.raises(StateError, match="not a joiner's state"):
            joiner.restore(state)


# What holds for any sequence of events

few = st.integers(0, 60)
names = st.sampled_from("ABCDEF")
items = st.sampled_from("wxyz")
any_event: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        lambda id_, time, shown_: shown(id_, time, *shown_), names, few, st.lists(items, min_size=1, unique=True)
    ),
    st.builds(acted, names, items, few, st.sampled_from(["click", "buy", "view"]), st.sampled_from([0.0, 1.0])),
    st.builds(lambda time: UserUpdate(time=time, user="u", features={}), few),
)
sequences = st.lists(any_event, min_size=1, max_size=40)
settings = st.fixed_dictionaries(
    {
        "wait": st.integers(0, 30),
        "lateness": st.integers(0, 20),
        "max_pending": st.integers(1, 6),
        "memory": st.integers(0, 60),
        "labels": st.sampled_from(["paced", "held"]),
        "age": st.sampled_from([0, 7, 30]),
    }
)
RULE = LabelRule(frozenset({"click", "buy"}), min_value=0.5)


def _joiner(age: int, **how: Any) -> Joiner:
    return Joiner(RULE, delays=FixedAge(age), **how)


@pytest.mark.slow
@given(sequences, settings, st.data())
def test_cutting_and_saving_anywhere_change_nothing(
    events: list[Event], how: dict[str, Any], data: st.DataObject
) -> None:
    whole, joiner = _joiner(**how), _joiner(**how)
    expected = run(whole, events)
    found: list[Emitted] = []
    cuts = sorted({0, len(events), *data.draw(st.lists(st.integers(0, len(events)), max_size=4))})
    for start, stop in pairwise(cuts):
        found += emitted(joiner.push(encode_events(events[start:stop])))
        state = joiner.state()
        joiner = _joiner(**how)
        joiner.restore(state)
        assert joiner.state() == state
    found += emitted(joiner.flush())
    assert found == expected
    assert (joiner.counts, joiner.tallies, joiner.state()) == (whole.counts, whole.tallies, whole.state())


@pytest.mark.slow
@given(sequences, settings)
def test_every_event_counts_once_and_every_position_comes_out_once(events: list[Event], how: dict[str, Any]) -> None:
    joiner = _joiner(**how | {"max_pending": 100, "memory": 10_000})
    out = run(joiner, events)
    assert sum(joiner.counts.values()) == joiner.sequence == len(events)
    positions = [(e.id, position) for e in out for position in e.positions if not e.learned]
    assert len(positions) == len(set(positions))
    corrected = [(e.id, position) for e in out for position in e.positions if e.learned]
    assert len(corrected) == len(set(corrected)) == joiner.tallies["corrected"]
    assert set(corrected) <= set(positions)
    assert all(set(e.labels) == {1.0} for e in out if e.learned)
    taken = {e.id for e in out}
    assert len(taken) == joiner.counts["impressions"] == joiner.tallies["closed"]
    assert joiner.tallies["positives"] + joiner.tallies["negatives"] == len(positions)
    assert [e.decided for e in out] == sorted(e.decided for e in out)


@pytest.mark.slow
@given(sequences, settings)
def test_memory_is_bounded(events: list[Event], how: dict[str, Any]) -> None:
    joiner = _joiner(**how)
    for event in events:
        joiner.push(encode_events([event]))
        assert joiner.pending <= how["max_pending"]
        assert joiner.counts["held"] <= how["max_pending"]
    assert sum(joiner.counts.values()) == len(events)


@pytest.mark.slow
@given(
    st.lists(any_event, max_size=40), st.integers(1, 2), st.integers(0, 30), st.integers(0, 20),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_events_out_of_order_by_no_more_than_the_lateness_give_the_labels_of_an_offline_join(
    events: list[Event], copies: int, wait: int, lateness: int, chance: random.Random
) -> None:
    """Also if every event comes twice."""
    events = _first_of_each_impression(events)
    expected = _offline(events, wait)
    impressions = sum(isinstance(event, Impression) for event in events)
    events *= copies
    events.sort(key=lambda event: event.time + chance.randint(0, lateness))
    joiner = Joiner(RULE, wait=wait, lateness=lateness)
    found: dict[tuple[str, int], float] = {}
    for e in run(joiner, events):
        found |= {(e.id, position): label for position, label in zip(e.positions, e.labels, strict=True)}
    assert found == expected
    assert joiner.counts["late_impressions"] == 0
    assert joiner.counts["duplicate_impressions"] == (copies - 1) * impressions


def _first_of_each_impression(events: list[Event]) -> list[Event]:
    """Each impression once, no interaction before its impression, one interaction an item: no order matters."""
    times = {e.id: e.time for e in reversed(events) if isinstance(e, Impression)}
    kept: dict[object, Event] = {}
    for event in events:
        if isinstance(event, Impression):
            kept.setdefault(event.id, event)
        elif isinstance(event, Interaction):
            if event.time >= times.get(event.impression, 0) and event.action == "click":
                kept.setdefault((event.impression, event.item), event)
        else:
            kept[id(event)] = event
    return list(kept.values())


def _offline(events: list[Event], wait: int) -> dict[tuple[str, int], float]:
    """The definition of right: all impressions, then all interactions in their windows."""
    impressions = [event for event in events if isinstance(event, Impression)]
    labels = {(i.id, position): 0.0 for i in impressions for position in range(len(i.items))}
    for event in (event for event in events if isinstance(event, Interaction)):
        for impression in (i for i in impressions if i.id == event.impression and event.time <= i.time + wait):
            if event.item in impression.items:
                labels[impression.id, impression.items.index(event.item)] = float(event.value >= 0.5)
    return labels


def test_a_click_on_a_long_list_is_of_the_items_first_position() -> None:
    items = [f"item-{n}" for n in range(3000)]
    clicked = ["item-2999", "item-0", "item-1500", "item-3000"]
    joiner = Joiner(LabelRule(), wait=10, lateness=0, delays=FixedAge(10))
    found = joiner.push(encode_events([shown("A", 0, *items), *(acted("A", item, 1) for item in clicked)]))
    assert [labeled.positions for labeled in found] == [(2999,), (0,), (1500,)]
    assert joiner.counts["unknown_items"] == 1
    [silent] = joiner.flush()
    assert silent.positions == tuple(n for n in range(3000) if n not in (0, 1500, 2999))


def test_a_state_with_features_decoded_as_older_releases_wrote_it_is_read() -> None:
    joiner = Joiner(LabelRule(), wait=10, lateness=0, delays=FixedAge(10))
    impression = Impression(id="A", time=5, user="u", items=["x", "y"], features={"age": 3.5})
    joiner.push(encode_events([impression, acted("A", "x", 6)]))
    state = msgspec.msgpack.decode(joiner.state(), type=JoinerState)
    assert state.waiting[0].features == b'{"age":3.5}'
    state.waiting[0].features, state.waiting[0].places = {"age": 3.5}, {"x": 0, "y": 1}
    restored = Joiner(LabelRule(), wait=10, lateness=0)
    restored.restore(msgspec.msgpack.encode(state))
    assert restored.state() == joiner.state()
    assert restored.flush() == joiner.flush()


@pytest.mark.parametrize("first", [[], [shown("q", 1, "a")]], ids=["interactions alone", "after a list"])
def test_the_list_of_loose_keys_has_room_for_all(monkeypatch: pytest.MonkeyPatch, first: Sequence[Event]) -> None:
    """Kernels write without checking bounds: what they wrote too much of would be found in other memory."""
    filled: list[tuple[int, int]] = []

    def checked(tables: Tables) -> None:
        filled.append((int(tables.now[0]["loose"]), len(tables.loose)))
        free_keys(tables)

    monkeypatch.setattr(joiner_module, "free_keys", checked)
    joiner = Joiner(LabelRule(), wait=1000, lateness=10)
    unmatched = [acted(f"x{n}", "a", 10_000 * n) for n in range(300)]
    joiner.push(encode_events([*first, *unmatched]))
    assert filled
    assert all(0 < used <= room for used, room in filled)
