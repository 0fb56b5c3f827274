from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streaming.feed
from recsys.errors import InvalidValueError, LogError, StateError
from streaming.encode.batch import TrainingBatch
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.encode.user_rows import user_ids
from streaming.events.schema import Erasure, Event, Impression, Interaction, ItemUpdate, ShadowScores, UserUpdate
from streaming.feed import Feed
from streaming.ingest.codec import encode_events
from streaming.ingest.counts import Counts
from streaming.ingest.formats.sources import JsonLines
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.join.joiner import Joiner, LabeledImpression, LabelRule
from streaming.log.event_log import EventLog
from streaming.log.file_log import FileLog
from streaming.log.memory_log import MemoryLog
from streaming.log.partitioning import split
from tests.streaming.fixed_age import FixedAge

SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("item", "categorical", "item"),
        Field("tags", "multi", "item.tags"),
        Field("clicks", "numeric", "request.clicks"),
    ]
)


def log_of(*partitions: Sequence[Event], append: int = 1000) -> MemoryLog:
    log = MemoryLog(len(partitions))
    for partition, events in enumerate(partitions):
        for start in range(0, len(events), append):
            log.append(encode_events(events[start : start + append]), partition)
    return log


def feed_of(log: EventLog, batch_size: int = 3, spec: FeatureSpec = SPEC, age: int = 20, **how: Any) -> Feed:
    joiner = Joiner(LabelRule(), wait=20, lateness=5, max_pending=50, delays=FixedAge(age))
    return Feed(log, joiner, EntityState(4), Encoder(spec), batch_size, **how)


def plain(batches: Iterable[TrainingBatch]) -> list[dict[str, Any]]:
    """Batches as values that compare."""
    return [{field.name: _plain(getattr(batch, field.name)) for field in fields(batch)} for batch in batches]


def _plain(value: Any) -> Any:
    match value:
        case np.ndarray():
            return np.where(np.isnan(value), -1e30, value).tolist()  # a missing number is NaN, which equals nothing
        case dict():
            return {name: (ids.values.tolist(), ids.lengths_B.tolist()) for name, ids in value.items()}
    return value


def shown(id_: str, time: int, *items: str, user: str = "u") -> Impression:
    return Impression(id=id_, time=time, user=user, items=list(items))


def click(impression: str, item: str, time: int) -> Interaction:
    return Interaction(time=time, impression=impression, item=item)


def noting(
    feed: Feed, batches: Iterable[TrainingBatch], found: Sequence[TrainingBatch], noted: list[tuple[int, str]]
) -> Iterator[TrainingBatch]:
    """The batches; notes each erasure with the number of batches in `found` before it."""
    for batch in batches:
        noted += ((len(found), user) for user in feed.take_erased())
        yield batch
    noted += ((len(found), user) for user in feed.take_erased())


names = st.sampled_from([f"imp{n}" for n in range(12)])
items = st.sampled_from("wxyz")
times = st.integers(0, 120)
users = st.sampled_from("uv")
event: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        lambda id_, time, shown_, user: shown(id_, time, *shown_, user=user),
        names,
        times,
        st.lists(items, min_size=1, unique=True),
        users,
    ),
    st.builds(Erasure, times, users),
    st.builds(lambda time, id_, user: ShadowScores(time, id_, user, "m", [0.5], f"{id_} m"), times, names, users),
    st.builds(click, names, items, times),
    st.builds(
        lambda time, n, user: UserUpdate(time=time, user=user, features={"clicks": n}), times, st.integers(0, 9), users
    ),
    st.builds(
        lambda time, item, tags: ItemUpdate(time=time, item=item, features={"tags": tags}),
        times,
        items,
        st.lists(st.sampled_from("ab"), max_size=2),
    ),
)
some_events = st.lists(event, max_size=60).map(lambda events: sorted(events, key=lambda e: e.time // 8))


@pytest.mark.slow
@given(st.lists(some_events, min_size=1, max_size=2), st.integers(1, 5), st.sampled_from([0, 9, 20]), st.data())
def test_batches_depend_on_the_content_of_the_log_alone(
    partitions: list[list[Event]], batch_size: int, age: int, data: st.DataObject
) -> None:
    """However it was appended and polled, and wherever a state was taken and restored: between any two batches."""
    whole = feed_of(log_of(*partitions), batch_size, age=age)
    erasures: list[tuple[int, str]] = []
    expected: list[TrainingBatch] = []
    for batches in (whole.poll(1000), whole.finish()):
        expected.extend(noting(whole, batches, expected, erasures))

    log = log_of(*partitions, append=data.draw(st.integers(1, 9)))
    feed, found, noted = feed_of(log, batch_size, age=age), list[TrainingBatch](), list[tuple[int, str]]()
    while not feed.caught_up:
        stop = data.draw(st.integers(0, 3))
        for count, batch in enumerate(noting(feed, feed.poll(data.draw(st.integers(1, 30))), found, noted), start=1):
            found.append(batch)
            if count == stop:
                break  # in the middle of a poll, with batches still to come
        state = feed.state()
        feed = feed_of(log, batch_size, age=age)
        feed.restore(state)
        assert feed.state() == state
    for rest in (feed.poll(1), feed.finish()):
        found.extend(noting(feed, rest, found, noted))
    assert plain(found) == plain(expected)
    assert noted == erasures
    assert all(len(batch) == batch_size for batch in found[:-1])
    assert feed.state() == whole.state()


@pytest.mark.slow
@given(some_events, st.integers(1, 5))
def test_a_batchs_cursor_is_where_its_last_row_became_known(events: list[Event], batch_size: int) -> None:
    log = log_of(events)
    batches = list(feed_of(log, batch_size).poll(1000))
    for number, batch in enumerate(batches, start=1):
        (end,) = batch.cursor
        assert plain(feed_of(log_of(events[:end]), batch_size).poll(1000))[:number] == plain(batches[:number])
        assert len(list(feed_of(log_of(events[: end - 1]), batch_size).poll(1000))) < number


@pytest.mark.slow
@given(some_events, st.lists(times), st.integers(1, 5))
def test_stopping_at_boundaries_changes_nothing(events: list[Event], stops: list[int], batch_size: int) -> None:
    whole, feed = (feed_of(log_of(events), batch_size) for _ in range(2))
    found = [batch for until in sorted(stops) for batch in feed.poll(1000, until=until)]
    found += feed.poll(1000)
    assert plain(found) == plain(whole.poll(1000))


@pytest.mark.slow
@pytest.mark.parametrize("partitions", [1, 2])
def test_a_log_on_disk_gives_the_batches_of_one_in_memory(tmp_path: Path, partitions: int) -> None:
    parts = [[shown(f"{p}-{n}", n * 7, *"xyz"[: 1 + n % 3]) for n in range(p, 50)] for p in range(partitions)]
    log = FileLog(tmp_path, partitions=partitions, fsync=False)
    for partition, events in enumerate(parts):
        for event in events:
            log.append(encode_events([event]), partition)
    batches = [[*feed.poll(1000), *feed.finish()] for feed in (feed_of(log), feed_of(log_of(*parts)))]
    log.close()
    assert plain(batches[0]) == plain(batches[1])


def test_a_feed_may_start_in_the_middle() -> None:
    log = log_of([shown("A", 1, "x"), shown("B", 2, "x"), click("B", "x", 3)])
    [batch] = feed_of(log, 1, start=(1,)).poll(1000)
    assert (batch.times_B.tolist(), batch.cursor) == ([2], (3,))


def test_until_is_the_first_moment_that_stays_unknown() -> None:
    feed = feed_of(log_of([shown("A", 1, "x"), click("A", "x", 9), shown("B", 10, "x"), click("B", "x", 9)]), 1)
    assert [batch.now for batch in feed.poll(1000, until=10)] == [9]
    assert (feed.cursor, feed.lag_events, feed.caught_up) == ((2,), 2, False)
    assert [batch.now for batch in feed.poll(1000, until=11)] == [10]
    assert feed.caught_up


def test_rows_wait_for_their_batch_until_drained() -> None:
    feed = feed_of(log_of([shown("A", 1, "x", "y"), click("A", "x", 2)]), batch_size=2)
    assert list(feed.poll(1000)) == []
    assert feed.waiting_rows == 1
    assert [batch.labels_B.tolist() for batch in feed.drain()] == [[1.0]]
    assert feed.drain() == []
    assert [batch.labels_B.tolist() for batch in feed.finish()] == [[0.0]]


def test_features_are_those_of_the_time_of_the_impression() -> None:
    """Neither a row whose label comes later, nor one that closes with the update itself, sees the future."""
    events: list[Event] = [
        UserUpdate(time=0, user="u", features={"clicks": 1}),
        ItemUpdate(time=0, item="x", features={"tags": ["a"]}),
        shown("A", 10, "x", "y"),
        click("A", "x", 12),
        UserUpdate(time=13, user="u", features={"clicks": 2}),
        ItemUpdate(time=13, item="y", features={"tags": ["b", "c"]}),
        UserUpdate(time=500, user="u", features={"clicks": 3}),
    ]
    feed = feed_of(log_of(events), batch_size=1)
    batches = list(feed.poll(1000))
    assert [batch.labels_B.tolist() for batch in batches] == [[1.0], [0.0]]
    assert [batch.numeric_BN.tolist() for batch in batches] == [[[1.0]], [[1.0]]]
    assert [batch.ids["tags"].lengths_B.tolist() for batch in batches] == [[1], [0]]
    assert feed.entities.users.at("u", 1000) == {"clicks": 3}


@pytest.mark.slow
def test_partitions_of_different_length_make_nothing_late() -> None:
    def impressions(name: str, every: int) -> list[Event]:
        return [shown(f"{name}{time}", time, "x") for time in range(0, 20_000, every)]

    feed = feed_of(log_of(impressions("A", 1), impressions("B", 100)))
    rows = sum(len(batch) for batch in [*feed.poll(100_000), *feed.finish()])
    assert (rows, feed.joiner.counts["late_impressions"]) == (20_200, 0)


@pytest.mark.slow
@given(some_events, st.integers(1, 30))
def test_feeds_that_divide_the_partitions_return_the_rows_of_one_feed(events: list[Event], max_events: int) -> None:
    """Each row once, with the same label, features and time: updates and the clock come from all partitions."""
    log = MemoryLog(2)
    for partition, part in split(encode_events(events), 2):
        log.append(part, partition)
    whole = feed_of(log, 1)
    expected = plain([*whole.poll(), *whole.finish()])
    found: list[dict[str, Any]] = []
    for partition in (0, 1):
        feed = feed_of(log, 1, partitions=[partition])
        while not feed.caught_up:
            found += plain(feed.poll(max_events))
        found += plain(feed.finish())
        assert sum(feed.joiner.counts.values()) == len(events)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


@pytest.mark.slow
def test_a_feed_sees_updates_of_partitions_that_it_does_not_join() -> None:
    update = UserUpdate(time=1, user="u", features={"clicks": 7})
    log = log_of([shown("A", 5, "x")], [update, shown("B", 100, "x"), click("B", "x", 101)])
    feed = feed_of(log, 1, partitions=[0])
    assert [batch.numeric_BN.tolist() for batch in feed.poll()] == [[[7.0]]]  # closed by the time of B
    assert list(feed.finish()) == []
    assert (feed.joiner.counts["impressions"], feed.joiner.counts["elsewhere"]) == (1, 3)


@pytest.mark.parametrize("partitions", [[], [2], [-1, 0]])
def test_a_feed_joins_partitions_that_the_log_has(partitions: list[int]) -> None:
    with pytest.raises(InvalidValueError, match="choose some of the log's 2"):
        feed_of(log_of([], []), partitions=partitions)


@pytest.mark.slow
def test_a_log_of_several_partitions_gives_the_rows_of_one(tmp_path: Path) -> None:
    """From JSON lines to batches: the same items with the same labels, whatever the number of partitions."""
    events: list[Event] = [shown(f"A{n}", n, *"wxyz"[: 1 + n % 4]) for n in range(300)]
    events += [click(f"A{n}", "w", n + n % 17) for n in range(0, 300, 3)]
    lines = b"\n".join(msgspec.json.encode(event) for event in sorted(events, key=lambda event: event.time))
    rows = []
    for partitions in (1, 3):
        log = FileLog(tmp_path / str(partitions), partitions, fsync=False)
        ingest = Ingest(log, DeadLetters(tmp_path / "dead"), clock=lambda: 1000)
        assert ingest.run(JsonLines(io.BytesIO(lines))) == Counts(accepted=400)
        assert all(log.end())
        feed = feed_of(log, 1)
        found = plain([*feed.poll(), *feed.finish()])
        rows.append(sorted(repr([row[name] for name in ("ids", "times_B", "labels_B")]) for row in found))
        assert (feed.joiner.counts["joined"], feed.joiner.counts["late"]) == (100, 0)
    assert rows[0] == rows[1]
    assert len(rows[0]) == sum(1 + n % 4 for n in range(300))


def test_the_observer_sees_all_impressions_once() -> None:
    class Onlooker:
        def __init__(self) -> None:
            self.impressions: list[LabeledImpression] = []
            self.items: list[str] = []
            self.stated: list[tuple[str, int, bool]] = []

        def observe(self, impressions: Iterable[LabeledImpression]) -> None:
            self.impressions.extend(impressions)

        def seen(self, items: Iterable[str], time: int) -> None:
            self.items.extend(items)

        def available(self, item: str, time: int, *, is_so: bool) -> None:
            self.stated.append((item, time, is_so))

        def forget(self, user: str) -> int:
            raise AssertionError(user)

    onlooker = Onlooker()
    update, gone = ItemUpdate(time=3, item="new"), ItemUpdate(time=3, item="x", available=False)
    events: list[Event] = [shown("A", 1, "x", "y"), click("A", "x", 2), update, gone, shown("B", 90, "x")]
    feed = feed_of(log_of(events), 3, observer=onlooker)
    list(feed.poll(1))
    assert onlooker.impressions == []
    list(feed.poll(10))
    list(feed.finish())
    assert [(e.id, e.positions) for e in onlooker.impressions] == [("A", (0,)), ("A", (1,)), ("B", (0,))]
    assert onlooker.items == ["new", "x"]
    assert onlooker.stated == [("x", 3, False)]


def test_reading_goes_in_steps_so_that_little_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming.feed, "STEP", 4)
    feed = feed_of(log_of([shown(str(n), n * 100, "x") for n in range(40)]), batch_size=2)
    next(feed.poll(1000))
    assert feed.cursor == (4,)


def test_a_state_of_other_features_or_of_another_log_is_refused() -> None:
    log = log_of([shown("A", 1, "x")])
    feed = feed_of(log)
    list(feed.poll(10))
    other = feed_of(log, spec=FeatureSpec.of([Field("user", "categorical", "user")]))
    with pytest.raises(StateError, match="has other features"):
        other.restore(feed.state())
    with pytest.raises(LogError, match="offset 1 of partition 0 is after the log's end, 0"):
        feed_of(log_of([])).restore(feed.state())
    with pytest.raises(StateError, match="not a feed's state"):
        feed.restore(feed.state()[:-1])
    with pytest.raises(StateError, match=r"joins partitions \(0,\), this feed \(1,\)"):
        feed_of(log_of([], []), partitions=[1]).restore(feed_of(log_of([], []), partitions=[0]).state())


def test_what_rows_were_made_without_is_counted_and_survives_a_restart() -> None:
    events: list[Event] = [
        *(ItemUpdate(time=0, item=item, features={}) for item in "abcdef"),
        UserUpdate(time=0, user="u", features={"clicks": "many"}),
        *(shown(f"A{n}", 1, "x") for n in range(52)),
    ]
    log = log_of(events)
    feed = feed_of(log, 1)
    list(feed.poll())
    assert feed.losses == {"closed_early": 2, "evicted_users": 0, "evicted_items": 2, "bad_values": 2}
    again = feed_of(log, 1)
    again.restore(feed.state())
    assert again.losses == feed.losses


def test_a_batch_has_a_size() -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        feed_of(log_of([]), batch_size=0)


def test_scores_of_a_challenger_change_no_batch() -> None:
    events: list[Event] = []
    for n in range(40):
        events += [shown(f"n{n}", 10 * n, "w", "x", user=f"u{n % 3}"), click(f"n{n}", "w", 10 * n + 1)]
    with_shadow: list[Event] = []
    for event in events:
        with_shadow.append(event)
        if isinstance(event, Impression):
            with_shadow.append(ShadowScores(event.time, event.id, event.user, "m", [0.5, 0.5], f"{event.id} m"))
    rows = [
        [(one["labels_B"], one["ids"]) for one in plain(feed_of(log_of(log)).poll())] for log in (events, with_shadow)
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) > 5


def test_an_erasure_drops_all_that_waits_of_the_user() -> None:
    events: list[Event] = [
        UserUpdate(time=0, user="u", features={"clicks": 1}),
        UserUpdate(time=0, user="v", features={"clicks": 2}),
        shown("A", 1, "x", "y"),
        shown("B", 1, "x", "y", user="v"),
        click("A", "x", 2),
        click("B", "x", 2),  # two rows wait for their batch, and two windows for more clicks
        Erasure(time=2, user="u"),
        click("A", "y", 3),
        click("B", "y", 3),
    ]
    feed = feed_of(log_of(events), batch_size=4)
    assert list(feed.poll()) == []
    assert (feed.waiting_rows, feed.take_erased(), feed.take_erased()) == (2, ["u"], [])
    (batch,) = feed.finish()
    own = user_ids(SPEC, ["v"])["user"]
    assert batch.ids["user"].values.tolist() == own.tolist() * 2
    assert feed.joiner.tallies["forgotten"] == 1
    assert (feed.joiner.counts["unmatched"], feed.joiner.counts["joined"]) == (1, 3)
    assert (feed.entities.users.latest("u"), feed.entities.users.latest("v")) == ({}, {"clicks": 2})
    assert feed.forget("u") == 0
