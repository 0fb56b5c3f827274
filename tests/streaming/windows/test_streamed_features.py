"""What the stream computes: by brute force, without leakage, whatever the reader's pieces and through a state."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest

from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Event, Impression, Interaction
from streaming.feed import Feed
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner, LabelRule
from streaming.log.memory_log import MemoryLog
from streaming.windows.counter_layout import CounterLayout, RecordReader
from streaming.windows.part import pair
from streaming.windows.streamed_features import StreamedFeatures
from streaming.windows.streamed_source import StreamedSource, streamed_source

pytestmark = pytest.mark.slow

MINUTE, HOUR = 60_000, 3_600_000
START = 1_700_000_000_000
WAIT = HOUR

Values = dict[str, Any]


def source(text: str) -> StreamedSource:
    found = streamed_source(text)
    assert found is not None
    return found


SOURCES = [
    "item.count(click, 10m)",
    "item.count(impression, 1h)",
    "item.rate(click, 1h)",
    "item.last(click)",
    "user.count(click, 1h)",
    "user.count(impression, 10m)",
    "user.last(buy)",
    "pair.count(impression, 24h)",
]


def computing(*texts: str, capacity: int = 1000, wait: int = WAIT) -> StreamedFeatures:
    return StreamedFeatures([source(text) for text in texts or SOURCES], capacity, wait, max_shown=1000)


def shown(time: int, *items: str, id_: str = "", user: str = "u", **features: Any) -> Impression:
    return Impression(id=id_ or f"{user}@{time}", time=time, user=user, items=list(items), **features)


def act(impression: Impression, item: str, delay: int, action: str = "click") -> Interaction:
    return Interaction(time=impression.time + delay, impression=impression.id, item=item, action=action)


def seen(features: StreamedFeatures, events: Sequence[Event], piece: int = 1000) -> list[Values]:
    """All features of each impression, those of items in lists."""
    found = []
    for start in range(0, len(events), piece):
        taken = features.take(encode_events(events[start : start + piece]))
        rows = taken.select(["kind", "features", "item_features"]).to_pylist()
        found += [
            msgspec.json.decode(row["features"]) | msgspec.json.decode(row["item_features"])
            for row in rows
            if row["kind"] == 0
        ]
    return found


def random_log(seed: int, lists: int = 120) -> list[Event]:
    rng = random.Random(seed)
    events: list[Event] = []
    time = START
    for n in range(lists):
        time += rng.choice([1, 400, 20_000, 90_000, 500_000])
        items = rng.sample("abcdefgh", rng.randint(1, 4))
        one = shown(time, *items, id_=f"i{n}", user=rng.choice("uvw"))
        events.append(one)
        events += [
            act(one, item, rng.randint(0, 300_000), rng.choice(["click", "click", "buy"]))
            for item in items
            if rng.random() < 0.6
        ]
    return sorted(events, key=lambda event: event.time)


def by_hand(events: Sequence[Event], one: Impression, read: StreamedSource) -> Any:
    """One field as of an impression, from the list of all events before it: exact but for the oldest bucket."""
    lists = {event.id: event for event in events if isinstance(event, Impression)}
    happened: list[tuple[int, str, str, str]] = []
    for event in events[: events.index(one)]:
        if event.time >= one.time:
            continue
        if isinstance(event, Impression):
            of = event.items if read.entity != "user" else event.items[:1]
            happened += [(event.time, event.user, item, "impression") for item in of]
        elif isinstance(event, Interaction):
            happened.append((event.time, lists[event.impression].user, event.item, event.action))

    def values(user: str, item: str) -> Any:
        own = [
            (time, action)
            for time, who, what, action in happened
            if (who == user or read.entity == "item") and (what == item or read.entity == "user")
        ]
        if read.function == "last":
            times = [time for time, action in own if action == read.action]
            return (one.time - max(times)) / 1000 if times else None
        width = read.window // 24
        oldest, share = one.time // width - 24, ((one.time // width + 1) * width - one.time) / width

        def count(action: str) -> float:
            times = [time for time, what in own if what == action]
            return sum(time // width > oldest for time in times) + share * sum(
                time // width == oldest for time in times
            )

        if read.function == "count":
            return count(read.action)
        return count(read.action) / count("impression") if count("impression") else None

    return values(one.user, "") if read.entity == "user" else [values(one.user, item) for item in one.items]


@pytest.mark.parametrize("seed", range(3))
def test_every_value_is_that_of_the_events_strictly_before(seed: int) -> None:
    events = random_log(seed)
    values = seen(computing(), events)
    for one, got in zip((e for e in events if isinstance(e, Impression)), values, strict=True):
        for text in SOURCES:
            assert got[text] == pytest.approx(by_hand(events, one, source(text))), (one, text)


def test_nothing_later_leaks_into_an_impression_that_is_read_late() -> None:
    """Clicks that the log has before it, but that happened at its time or after it, and its own click."""
    first = shown(START, "a")
    late = shown(START + 5000, "a", user="v")
    events: list[Event] = [first, act(first, "a", 5000), act(first, "a", 9000, "buy"), late, act(late, "a", 0)]
    fields = ["item.count(click, 10m)", "item.count(buy, 10m)", "item.last(click)", "item.rate(click, 10m)"]
    planted = seen(computing(*fields), events)[1]
    clean = seen(computing(*fields), [first, late])[1]
    assert (
        planted
        == clean
        == {
            "item.count(click, 10m)": [0.0],
            "item.count(buy, 10m)": [0.0],
            "item.last(click)": [None],
            "item.rate(click, 10m)": [0.0],
        }
    )


def test_a_window_ends_where_it_says_but_for_one_bucket() -> None:
    first = shown(START, "a")
    events: list[Event] = [first, act(first, "a", 0)]
    for after, least, most in (
        (10 * MINUTE - 1, 0.0, 1.0),
        (9 * MINUTE + 34_000, 1.0, 1.0),
        (10 * MINUTE + 25_000, 0, 0),
    ):
        features = computing("item.count(click, 10m)")
        (_, value) = seen(features, [*events, shown(START + after, "a")])
        assert least <= value["item.count(click, 10m)"][0] <= most


def test_values_that_a_server_logged_stay() -> None:
    name = "item.count(click, 10m)"
    logged = shown(START, "a", "b", features={"user.count(click, 1h)": 7.0, "x": 1}, item_features={name: [3.0, 4.0]})
    (got,) = seen(computing(name, "user.count(click, 1h)", "item.count(impression, 1h)"), [logged])
    assert got == {"user.count(click, 1h)": 7.0, "x": 1, name: [3.0, 4.0], "item.count(impression, 1h)": [0.0, 0.0]}


def test_only_what_a_user_did_with_a_shown_item_counts_and_once() -> None:
    first = shown(START, "a")
    strange = Interaction(time=START + 1, impression="?", item="a")
    events: list[Event] = [
        first,
        first,  # the same list again
        *[act(first, "a", 1), act(first, "a", 2)],  # the same action again
        act(first, "b", 3),  # not shown
        strange,
        act(first, "a", WAIT + 1),
        shown(START + WAIT + 2, "a", "b"),
    ]
    names = ["item.count(click, 24h)", "item.count(impression, 24h)"]
    values = seen(computing(*names), events)[-1]
    assert values == {names[0]: [1.0, 0.0], names[1]: [1.0, 0.0]}


def test_the_least_recently_used_is_forgotten_first() -> None:
    features = computing("item.count(impression, 1h)", capacity=2)
    last = seen(features, [shown(START + n, item) for n, item in enumerate("abacab")])[-1]
    assert last["item.count(impression, 1h)"] == [0.0]  # c took the place of b, which was shown longest ago
    assert features.counters == {"counted_items": 2, "evicted_counters_of_items": 2}


@pytest.mark.parametrize("piece", [1, 7])
def test_pieces_and_a_state_between_them_change_nothing(piece: int) -> None:
    events = random_log(5, lists=60)
    whole, parts = computing(capacity=5), computing(capacity=5)
    expected = seen(whole, events)
    half = len(events) // 2
    got = seen(parts, events[:half], piece)
    resumed = computing(capacity=5)
    resumed.restore(parts.state())
    assert got + seen(resumed, events[half:], piece) == expected
    assert resumed.state() == whole.state()


def test_a_state_of_other_sources_gives_the_counters_that_both_have() -> None:
    before, after = computing("item.count(click, 1h)", "item.last(buy)"), computing("item.count(click, 1h)")
    first = shown(START, "a")
    seen(before, [first, act(first, "a", 1), act(first, "a", 2, "buy")])
    after.restore(before.state())
    assert seen(after, [shown(START + 10, "a")])[0] == {"item.count(click, 1h)": [1.0]}


def test_servers_read_the_same_values_from_records() -> None:
    events = random_log(1)
    features = computing()
    seen(features, events)
    records = {change.layout.kind: change for change in features.drain_changes()}
    now = shown(events[-1].time + 30_000, "a", "b", "nobody-saw-this", user="v")
    (expected,) = seen(features, [now])
    names = {"user": ["v"], "item": now.items, "pair": [pair("v", item) for item in now.items]}
    got: Values = {}
    for entity, change in records.items():
        own = [source(text) for text in SOURCES if text.startswith(entity)]
        assert isinstance(change.layout, CounterLayout)
        columns = RecordReader(change.layout, own).values([change.records.get(n) for n in names[entity]], now.time)
        got |= {name: column[0] if entity == "user" else column for name, column in columns.items()}
    assert got == expected


def test_times_alone_need_no_buckets() -> None:
    features = computing("user.last(click)")
    first = shown(START, "a")
    seen(features, [first, act(first, "a", 500)])
    (change,) = features.drain_changes()
    assert isinstance(change.layout, CounterLayout)
    reader = RecordReader(change.layout, [source("user.last(click)")])
    assert reader.values([change.records["u"], None], START + 2500) == {"user.last(click)": [2.0, None]}
    resumed = computing("user.last(click)")
    resumed.restore(features.state())
    assert seen(resumed, [shown(START + 2500, "a")]) == [{"user.last(click)": 2.0}]


def test_changes_that_could_not_be_published_come_again() -> None:
    features = computing("item.count(impression, 1h)", capacity=2)
    seen(features, [shown(START + n, item) for n, item in enumerate("abc")])
    changes = features.drain_changes()
    assert [(set(c.records), c.removed, c.full) for c in changes] == [({"b", "c"}, ["a"], False)]
    assert [(set(c.records), c.removed) for c in features.drain_changes()] == [(set(), [])]
    features.restore_changes(changes)
    assert [(set(c.records), c.removed) for c in features.drain_changes()] == [({"b", "c"}, ["a"])]


SPEC = FeatureSpec.of(
    [Field("item", "categorical", "item"), *(Field(f"f{n}", "numeric", s) for n, s in enumerate(SOURCES))]
)


def feed(log: MemoryLog) -> Feed:
    joiner = Joiner(LabelRule(), wait=WAIT, lateness=0, labels="held")
    return Feed(log, joiner, EntityState(4), Encoder(SPEC), 16, streamed=StreamedFeatures(SPEC.streamed, 6, WAIT, 1000))


def rows(batches: Iterable[Any]) -> list[Any]:
    return [(batch.keys_B.tolist(), batch.numeric_BN.tobytes()) for batch in batches]


def test_a_feed_goes_on_from_its_state_with_the_same_rows() -> None:
    events = random_log(2)
    log = MemoryLog(1)
    log.append(encode_events(events))
    whole = feed(log)
    expected = [*rows(whole.poll()), *rows(whole.finish())]
    killed = feed(log)
    got = rows(killed.poll(max_events=len(events) // 3))
    resumed = feed(log)
    resumed.restore(killed.state())
    assert [*got, *rows(resumed.poll()), *rows(resumed.finish())] == expected
    assert resumed.losses["evicted_counters_of_items"] > 0
    assert len(expected) > 10
