"""Histories of users: by brute force, without leakage, bounded, whatever the reader's pieces and through a state."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Event, Impression, Interaction
from streaming.feed import Feed
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner, LabelRule
from streaming.log.memory_log import MemoryLog
from streaming.windows.history_layout import HistoryLayout, HistoryReader
from streaming.windows.streamed_features import StreamedFeatures
from streaming.windows.streamed_source import StreamedSource, streamed_source

START, WAIT = 1_700_000_000_000, 3_600_000
CLICKED = "user.recent(click, 3)"
LONGER, BOUGHT = "user.recent(click, 5)", "user.recent(buy, 2)"


def sources(*texts: str) -> list[StreamedSource]:
    return [found for text in texts if (found := streamed_source(text))]


def keeping(*texts: str, capacity: int = 100) -> StreamedFeatures:
    return StreamedFeatures(sources(*texts or (CLICKED,)), capacity, WAIT, max_shown=1000)


def shown(time: int, *items: str, user: str = "u", **features: Any) -> Impression:
    return Impression(id=f"{user}@{time}", time=START + time, user=user, items=list(items), **features)


def act(impression: Impression, item: str, delay: int, action: str = "click") -> Interaction:
    return Interaction(time=impression.time + delay, impression=impression.id, item=item, action=action)


def histories(stream: StreamedFeatures, events: Sequence[Event], piece: int = 1000) -> list[dict[str, list[str]]]:
    """What each impression is given."""
    found = []
    for start in range(0, len(events), piece):
        rows = stream.take(encode_events(events[start : start + piece])).select(["kind", "features"]).to_pylist()
        found += [msgspec.json.decode(row["features"]) for row in rows if row["kind"] == 0]
    return found


def random_log(seed: int, lists: int = 150) -> list[Event]:
    """Interactions up to five minutes after their lists, so that many happen after the user's next ones."""
    rng = random.Random(seed)
    events: list[tuple[int, Event]] = []
    time = 0
    for _ in range(lists):
        time += rng.choice([1, 400, 20_000, 90_000])
        one = shown(time, *rng.sample("abcdefgh", 4), user=rng.choice("uvw"))
        events.append((one.time, one))
        for item in one.items:
            if rng.random() < 0.5:
                acted = act(one, item, rng.randint(0, 300_000), rng.choice(["click", "click", "buy"]))
                events.append((acted.time + rng.choice([0, 0, 60_000]), acted))  # some are read late
    return [event for _, event in sorted(events, key=lambda pair: pair[0])]


def by_hand(events: Sequence[Event], one: Impression, action: str, kept: int, length: int) -> list[str]:
    """Of the latest `kept` acts that were read before the impression, the last of those that happened before it."""
    users = {event.id: event.user for event in events if isinstance(event, Impression)}
    acts = [
        (event.time, event.item)
        for event in events[: events.index(one)]
        if isinstance(event, Interaction) and event.action == action and users[event.impression] == one.user
    ]
    latest = sorted(acts, key=lambda pair: pair[0])[-kept:]
    return [item for time, item in reversed(latest) if time < one.time][:length]


@pytest.mark.parametrize("seed", range(3))
def test_a_history_is_of_the_acts_strictly_before(seed: int) -> None:
    events = random_log(seed)
    lists = [event for event in events if isinstance(event, Impression)]
    given_ = histories(keeping(CLICKED, LONGER, BOUGHT), events)
    for one, got in zip(lists, given_, strict=True):
        assert got == {
            CLICKED: by_hand(events, one, "click", 5, 3),
            LONGER: by_hand(events, one, "click", 5, 5),
            BOUGHT: by_hand(events, one, "buy", 2, 2),
        }
    assert max(len(got[LONGER]) for got in given_) == 5


def test_neither_a_later_click_nor_the_label_leaks() -> None:
    """Planted: a click read before the second list that happens at its time, one after it, and its own."""
    first, second = shown(0, "a", "b", "c"), shown(5000, "d", "e")
    clean: list[Event] = [first, act(first, "a", 1000), second, shown(9999, "x")]
    planted: list[Event] = [
        *clean[:2],
        act(first, "b", 5000),
        act(first, "c", 6000),
        second,
        act(second, "d", 0),
        act(second, "e", 1),
        clean[3],
    ]
    assert [got[CLICKED] for got in histories(keeping(), clean)] == [[], ["a"], ["a"]]
    found = [got["user.recent(click, 9)"] for got in histories(keeping("user.recent(click, 9)"), planted)]
    assert found == [[], ["a"], ["c", "e", "d", "b", "a"]]


def test_what_is_read_late_is_put_in_its_place_or_is_too_old() -> None:
    first = shown(0, *"abcde")
    acts = [act(first, item, delay) for item, delay in (("a", 30), ("b", 20), ("c", 40), ("d", 10), ("e", 35))]
    assert histories(keeping(), [first, *acts, shown(99, "x")])[1] == {CLICKED: ["c", "e", "a"]}


def test_an_act_counts_once_a_list_and_again_in_another() -> None:
    first, second = shown(0, "a"), shown(10, "a")
    events: list[Event] = [first, act(first, "a", 1), act(first, "a", 2), second, act(second, "a", 3), shown(99, "x")]
    assert histories(keeping(), events)[2] == {CLICKED: ["a", "a"]}


def test_acts_of_unknown_lists_of_items_not_shown_and_after_the_wait_are_nobodys() -> None:
    first = shown(0, "a")
    unknown = Interaction(time=START + 1, impression="?", item="a")
    events: list[Event] = [first, unknown, act(first, "b", 1), act(first, "a", WAIT + 1), shown(WAIT + 2, "x")]
    assert histories(keeping(), events)[1] == {CLICKED: []}


def test_what_a_server_logged_stays() -> None:
    first = shown(0, "a")
    logged = shown(9, "x", features={CLICKED: ["as", "used"]})
    assert histories(keeping(), [first, act(first, "a", 1), logged])[1] == {CLICKED: ["as", "used"]}


def test_memory_is_bounded_in_items_and_in_users() -> None:
    stream = keeping(capacity=2)
    events: list[Event] = []
    for n, user in enumerate("uvuwv"):
        one = shown(100 * n, *"abcdef", user=user)
        events += [one, *(act(one, item, 1 + place) for place, item in enumerate("abcdef"))]
    events += [shown(1000, "x", user=user) for user in "uvw"]
    assert [got[CLICKED] for got in histories(stream, events)[-3:]] == [[], ["f", "e", "d"], ["f", "e", "d"]]
    assert stream.counters == {"histories": 2, "evicted_histories": 2}
    (change,) = stream.drain_changes()
    assert (set(change.records), change.removed) == ({"v", "w"}, ["u"])


@pytest.mark.parametrize("piece", [1, 7])
def test_pieces_and_a_state_between_them_change_nothing(piece: int) -> None:
    events = random_log(5, lists=60)
    whole, parts = (keeping(CLICKED, BOUGHT, capacity=2) for _ in range(2))
    expected, half = histories(whole, events), len(events) // 2
    got = histories(parts, events[:half], piece)
    resumed = keeping(CLICKED, BOUGHT, capacity=2)
    resumed.restore(parts.state())
    assert got + histories(resumed, events[half:], piece) == expected
    assert resumed.state() == whole.state()
    assert resumed.counters["evicted_histories"] > 0


def test_a_state_of_other_sources_gives_what_both_keep() -> None:
    first = shown(0, *"abcd")
    before, after = keeping(LONGER, BOUGHT, "user.count(click, 1h)"), keeping(CLICKED)
    histories(before, [first, *(act(first, item, 1 + n) for n, item in enumerate("abcd"))])
    after.restore(before.state())
    assert histories(after, [shown(99, "x")]) == [{CLICKED: ["d", "c", "b"]}]
    counting = keeping("user.count(click, 1h)")
    counting.restore(after.state())
    assert histories(counting, [shown(99, "x")])[0].keys() == {"user.count(click, 1h)"}


@given(st.binary(max_size=40))
def test_a_record_that_cannot_be_read_is_an_empty_history(record: bytes) -> None:
    layout = HistoryLayout.of(sources(CLICKED, BOUGHT))
    values = HistoryReader(layout, sources(CLICKED)).values([record, None], START)
    assert values[CLICKED][1] == []
    assert isinstance(values[CLICKED][0], list)


SPEC = FeatureSpec.of([Field("item", "categorical", "item"), Field("seen", "multi", CLICKED, table="item")])


def test_rows_hold_the_history_as_of_the_list_in_the_ids_of_the_items() -> None:
    """The labels come long after, and clicks in between are not in the rows."""
    first, second = shown(0, "a", "b"), shown(5000, "b", "c")
    log = MemoryLog(1)
    log.append(encode_events([first, act(first, "a", 1), second, act(second, "c", 2), shown(2 * WAIT, "z", user="v")]))
    joiner = Joiner(LabelRule(), wait=WAIT, lateness=0, labels="held")
    stream = StreamedFeatures(SPEC.streamed, 10, WAIT, 100)
    feed = Feed(log, joiner, EntityState(4), Encoder(SPEC), 4, streamed=stream)
    (batch, *_) = [*feed.poll(), *feed.finish()]
    rows = {
        (time - START, item): (label, seen)
        for time, item, label, seen in zip(
            batch.times_B.tolist(),
            batch.ids["item"].values.tolist(),
            batch.labels_B.tolist(),
            np.split(batch.ids["seen"].values, np.cumsum(batch.ids["seen"].lengths_B)[:-1]),
            strict=True,
        )
    }
    a, b, c = (xxhash.xxh3_64_intdigest(item, seed=xxhash.xxh3_64_intdigest(b"item")) for item in (b"a", b"b", b"c"))
    assert {key: (label, seen.tolist()) for key, (label, seen) in rows.items()} == {
        (0, a): (1.0, []),
        (0, b): (0.0, []),
        (5000, b): (0.0, [a]),
        (5000, c): (1.0, [a]),
    }


def test_a_request_that_gives_more_is_cut_to_the_latest() -> None:
    ids, _ = Encoder(SPEC).encode_request("u", START, {CLICKED: ["a", "b", "c", "d"]})
    kept, _ = Encoder(SPEC).encode_request("u", START, {CLICKED: ["a", "b", "c"]})
    assert ids["seen"].values.tolist() == kept["seen"].values.tolist()
    assert ids["seen"].lengths_B.tolist() == [3]
