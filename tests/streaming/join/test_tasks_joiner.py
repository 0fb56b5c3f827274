"""Several tasks over the same events: each is labelled as if it were alone, in one order of time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import StateError
from streaming.events.schema import Event, Impression, Interaction, UserUpdate
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner, LabeledImpression, LabelRule, Labels
from streaming.join.tasks_joiner import Task, TasksJoiner
from tests.streaming.fixed_age import FixedAge

CLICK = Task("click", LabelRule(frozenset({"click"})), wait=10)
BUY = Task("buy", LabelRule(frozenset({"buy"}), min_value=5.0), wait=100)


def joiner(
    tasks: Sequence[Task] = (CLICK, BUY), labels: Labels = "paced", age: int = 4, pending: int = 50
) -> TasksJoiner:
    def of(task: Task, number: int) -> Joiner:
        return Joiner(task.rule, task.wait, 3, pending, labels=labels, delays=FixedAge(age), task=number)

    return TasksJoiner(tasks, of)


def shown(id_: str, time: int, *items: str) -> Impression:
    return Impression(id=id_, time=time, user="u", items=list(items))


def acted(impression: str, item: str, time: int, action: str, value: float = 1.0) -> Interaction:
    return Interaction(time=time, impression=impression, item=item, action=action, value=value)


def test_a_click_and_a_later_purchase_worked_out_by_hand() -> None:
    both = joiner()
    events: list[Event] = [
        shown("A", 0, "x", "y"),
        acted("A", "x", 2, "click"),  # before the silence of both tasks, at age 4
        UserUpdate(time=20, user="u", features={}),  # A's window for clicks is over, that for purchases is not
        acted("A", "y", 21, "click"),  # too late
        acted("A", "x", 30, "buy", 9.0),  # corrects the silence of the purchase
        acted("A", "y", 40, "buy", 1.0),  # a low value: negative, as was learned
    ]
    out = [*both.push(encode_events(events)), *both.flush()]
    assert [(e.task, e.positions, e.labels, e.decided, e.learned) for e in out] == [
        (0, (0,), (1.0,), 2, False),
        (0, (1,), (0.0,), 5, False),
        (1, (0, 1), (0.0, 0.0), 5, False),
        (1, (0,), (1.0,), 30, True),
    ]
    assert (both.counts["impressions"], both.counts["joined"], both.counts["late"]) == (2, 3, 1)
    assert both.counts["ignored"] == 4  # two clicks for the purchase, two purchases for the click
    assert sum(both.counts.values()) == 2 * len(events)
    assert (both.tallies["positives"], both.tallies["negatives"], both.tallies["closed"]) == (2, 2, 2)
    assert (both.wait, both.lateness, both.sequence) == (100, 3, 6)


def test_held_labels_come_when_the_window_of_their_own_task_closes() -> None:
    both = joiner(labels="held")
    events: list[Event] = [shown("A", 0, "x"), acted("A", "x", 5, "buy", 5.0), acted("A", "x", 6, "click")]
    out = [*both.push(encode_events(events)), *both.flush()]
    assert [(e.task, e.labels, e.decided) for e in out] == [(0, (1.0,), 14), (1, (1.0,), 104)]


def test_the_state_of_other_tasks_is_refused() -> None:
    state = joiner().state()
    with pytest.raises(StateError, match="of the tasks click, buy, not buy, click"):
        joiner([BUY, CLICK]).restore(state)
    one = joiner([CLICK])
    with pytest.raises(StateError, match="not the state of several tasks"):
        one.restore(b"\x07")


few = st.integers(0, 150)
names = st.sampled_from("ABCDEF")
items = st.sampled_from("wxyz")
any_event: st.SearchStrategy[Event] = st.one_of(
    st.builds(lambda id_, time, some: shown(id_, time, *some), names, few, st.lists(items, min_size=1, unique=True)),
    st.builds(acted, names, items, few, st.sampled_from(["click", "buy"]), st.sampled_from([1.0, 9.0])),
    st.builds(lambda time: UserUpdate(time=time, user="u", features={}), few),
)
sequences = st.lists(any_event, min_size=1, max_size=40)


def run(one: Joiner | TasksJoiner, events: Sequence[Event]) -> list[LabeledImpression]:
    return [*one.push(encode_events(events)), *one.flush()]


@pytest.mark.slow
@given(sequences, st.sampled_from(["paced", "held"]), st.sampled_from([0, 7, 30]), st.integers(1, 6))
def test_joining_tasks_together_is_joining_each_alone(
    events: list[Event], labels: Labels, age: int, pending: int
) -> None:
    out = run(joiner(labels=labels, age=age, pending=pending), events)
    for number, task in enumerate((CLICK, BUY)):
        alone = Joiner(task.rule, task.wait, 3, pending, labels=labels, delays=FixedAge(age), task=number)
        assert [labeled for labeled in out if labeled.task == number] == run(alone, events)
    assert all(a.sequence <= b.sequence for a, b in pairwise(out))


@pytest.mark.slow
@given(sequences, st.sampled_from(["paced", "held"]), st.data())
def test_cutting_and_saving_anywhere_change_nothing(events: list[Event], labels: Labels, data: st.DataObject) -> None:
    expected, both, found = run(joiner(labels=labels), events), joiner(labels=labels), []
    cuts = sorted({0, len(events), *data.draw(st.lists(st.integers(0, len(events)), max_size=4))})
    for start, stop in pairwise(cuts):
        found += both.push(encode_events(events[start:stop]))
        state, both = both.state(), joiner(labels=labels)
        both.restore(state)
    assert [*found, *both.flush()] == expected
