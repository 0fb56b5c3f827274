"""Clicks that the log has before their impression, from the log to training rows: each row is of the right item."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from streaming.encode.batch import TrainingBatch
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.encode.row_keys import read_key
from streaming.events.schema import Event, Impression, Interaction
from streaming.feed import Feed
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner, LabelRule, Labels
from streaming.join.tasks_joiner import Task, TasksJoiner
from streaming.log.memory_log import MemoryLog
from tests.streaming.fixed_age import FixedAge

TASKS = [
    Task("rate", LabelRule(frozenset({"rate"}), min_value=4.0), 100),
    Task("buy", LabelRule(frozenset({"buy"})), 100),
]
SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("item", "categorical", "item"),
        Field("tags", "multi", "item.tags"),
        Field("price", "numeric", "item.price", scale="none"),
    ]
)


class Row(NamedTuple):
    """What a training row should say of one shown item."""

    user: int
    item: int
    tags: tuple[int, ...]
    price: float
    propensity: float
    position: int
    task: int
    label: float
    time: int


def impression(number: int, count: int) -> Impression:
    """All that it shows differs between impressions, and between positions."""
    items = [f"item-{number}-{n}" for n in range(count)]
    return Impression(
        id=f"list-{number}",
        time=10 + number,
        user=f"user-{number}",
        items=items,
        item_features={
            "price": [*range(100 * number, 100 * number + count)],
            "tags": [[item, "all"] for item in items],
        },
        propensities=[1 / (1 + n) for n in range(count)],
    )


def rows_of(batches: list[TrainingBatch], impressions: dict[int, Impression]) -> list[Row]:
    """The rows, after a check that the keys name the impression's event, the position and the task."""
    rows = []
    for batch in batches:
        ends = np.cumsum(batch.ids["tags"].lengths_B).tolist()
        for row, key in enumerate(map(read_key, batch.keys_B.tolist())):
            assert impressions[key.number].time == batch.times_B[row]
            assert (key.position, key.task) == (batch.positions_B[row], batch.tasks_B[row])
            tags = batch.ids["tags"].values[ends[row] - int(batch.ids["tags"].lengths_B[row]) : ends[row]]
            user, item = (int(batch.ids[name].values[row]) for name in ("user", "item"))
            price, propensity = float(batch.numeric_BN[row, 0]), float(batch.propensities_B[row])
            label, time = float(batch.labels_B[row]), int(batch.times_B[row])
            rows.append(Row(user, item, tuple(tags.tolist()), price, propensity, key.position, key.task, label, time))
    return rows


def expected_row(shown: Impression, position: int, task: int, label: float) -> Row:
    item, propensity = shown.items[position], float(np.float32(shown.propensities[position]))
    tags, price = (id_of("tags", item), id_of("tags", "all")), float(str(shown.item_features["price"][position]))
    return Row(
        id_of("user", shown.user), id_of("item", item), tags, price, propensity, position, task, label, shown.time
    )


def id_of(table: str, text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode(), seed=xxhash.xxh3_64_intdigest(table.encode()))


def feed_of(log: MemoryLog, labels: Labels) -> Feed:
    def joiner(task: Task, number: int) -> Joiner:
        return Joiner(task.rule, task.wait, 50, labels=labels, delays=FixedAge(40), task=number)

    return Feed(log, TasksJoiner(TASKS, joiner), EntityState(4), Encoder(SPEC), batch_size=7)


values = st.sampled_from([1.0, 2.0, 5.0])
acts = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["rate", "buy"]), values), max_size=8)
lists = st.lists(st.tuples(st.integers(1, 5), acts), min_size=1, max_size=5)


@pytest.mark.slow
@given(lists, st.randoms(use_true_random=False), st.sampled_from(["paced", "held"]), st.sampled_from([1, 3, 1000]))
def test_clicks_before_their_impression_become_rows_of_their_items(
    lists: list[tuple[int, list[tuple[int, str, float]]]], order: random.Random, labels: Labels, chunk: int
) -> None:
    """In the same chunk (`chunk` is large) and in an earlier one, of several lists at once, in any order."""
    shown = [impression(number, count) for number, (count, _) in enumerate(lists)]
    early = [
        Interaction(time=12 + number, impression=f"list-{number}", item=f"item-{number}-{n}", action=name, value=value)
        for number, (count, some) in enumerate(lists)
        for n, name, value in some
        if n < count
    ]
    order.shuffle(early)
    events: list[Event] = [*early, *shown]
    log = MemoryLog(1)
    log.append(encode_events(events))
    feed, batches = feed_of(log, labels), list[TrainingBatch]()
    while not feed.caught_up:
        batches += feed.poll(chunk)
    batches += feed.finish()
    decided: dict[tuple[int, str, str], float] = {}
    for event in early:
        decided.setdefault((int(event.impression[5:]), event.item, event.action), event.value)
    assert feed.joiner.counts["joined"] == len(decided)
    expected = [
        expected_row(one, position, task, TASKS[task].rule.label(decided[key]) if key in decided else 0.0)
        for number, one in enumerate(shown)
        for position, item in enumerate(one.items)
        for task in range(2)
        for key in [(number, item, TASKS[task].name)]
    ]
    found = rows_of(batches, {len(early) + 1 + number: one for number, one in enumerate(shown)})
    assert sorted(found) == sorted(expected)
