"""Conversions, values and returns of users by the log, against a computation of each user apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.log_counts import LogCounts
from serving.experiments.goals import VISIT, Goal
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events

AB = Experiment("ab", (Arm("control", "frozen"), Arm("treatment", "online")))
DAY = 86_400_000
START = 20 * DAY
BUY = Goal("buyers", "conversion", 2 * DAY, frozenset({"buy", "order"}))
SPENT = Goal("spent", "value", 2 * DAY, frozenset({"buy"}), min_value=5.0)
BACK = Goal("back", "return", DAY)


def shown(name: str, user: str, time: int = START, experiment: str = "ab") -> Impression:
    arm = AB.arm(user).name if experiment else ""
    return Impression(id=name, time=time, user=user, items=["x", "y"], experiment=experiment, arm=arm)


def buy(impression: str, time: int, value: float = 1.0, item: str = "x", action: str = "buy") -> Interaction:
    return Interaction(time=time, impression=impression, item=item, action=action, value=value)


def counted(*events: Event, goals: tuple[Goal, ...] = (BUY, SPENT, BACK)) -> LogCounts:
    counts = LogCounts(AB, START, START - 10 * DAY, goals=goals)
    counts.begin_partition()
    counts.count(encode_events(list(events)))
    return counts


def figures(counts: LogCounts, goal: Goal) -> list[tuple[float, ...]]:
    """Of each user, of all arms."""
    return sorted(tuple(column) for of in counts.goals()[goal.name].values() for column in of.T.tolist())


def test_an_action_counts_while_its_task_waits_if_its_item_was_shown_and_its_value_is_enough() -> None:
    counts = counted(
        shown("a", "u"),
        buy("a", START + 2 * DAY, 10.0),
        buy("a", START + 5, 7.0, "y"),
        buy("a", START + 5, 4.0),
        buy("a", START + 5, 100.0, "z"),
        buy("a", START + 2 * DAY + 1, 100.0),
        buy("a", START + 5, 100.0, action="order"),
        buy("a", START + 5, 100.0, action="click"),
    )
    assert figures(counts, BUY) == [(1, 1, 1, 0)]
    assert figures(counts, SPENT) == [(1, 17, 1, 0)]


def test_what_was_bought_before_the_start_adjusts_and_what_comes_after_it_on_older_lists_is_nobodys() -> None:
    counts = counted(shown("o", "u", START - DAY, ""), buy("o", START - 5, 8.0), buy("o", START, 50.0), shown("a", "u"))
    assert figures(counts, SPENT) == [(1, 0, 1, 8)]
    assert figures(counts, BUY) == [(1, 0, 1, 1)]


@pytest.mark.parametrize(
    ("after", "came"), [(0, 0.0), (VISIT, 0.0), (VISIT + 1, 1.0), (DAY, 1.0), (DAY + 1, 0.0)], ids=str
)
def test_a_user_comes_back_by_a_later_visit_within_the_window(after: int, came: float) -> None:
    counts = counted(shown("a", "u"), shown("b", "u", START + after, ""), shown("end", "v", START + 2 * DAY, ""))
    assert figures(counts, BACK) == [(1, came, 0, 0)]


def test_whether_a_user_came_back_is_not_known_before_the_window_has_passed() -> None:
    counts = counted(shown("a", "u"), shown("b", "u", START + VISIT + 1), shown("end", "v", START + DAY - 1, ""))
    assert figures(counts, BACK) == [(0, 0, 0, 0)]


@pytest.mark.parametrize(
    ("first", "second", "before"),
    [
        (-2 * DAY, -2 * DAY + VISIT + 1, (1, 1)),
        (-2 * DAY, -1, (1, 0)),
        (-DAY, -1, (1, 1)),
        (-DAY + 1, -1, (0, 0)),
        (-2 * DAY, VISIT, (1, 0)),
    ],
    ids=["came", "came too late", "just known", "not known yet", "came after the start"],
)
def test_who_came_back_before_the_start_adjusts(first: int, second: int, before: tuple[float, float]) -> None:
    lists = [shown("o", "u", START + first, ""), shown("p", "u", START + second, ""), shown("a", "u", START + VISIT)]
    assert figures(counted(*lists, shown("end", "v", START + 2 * DAY, "")), BACK) == [(1, 0, *before)]


def test_partitions_may_be_read_in_any_order() -> None:
    parts = [[shown("a", "u")], [shown("b", "u", START + VISIT + 5, "")], [shown("end", "v", START + 2 * DAY, "")]]
    for order in ((0, 1, 2), (2, 1, 0)):
        counts = LogCounts(AB, START, START, goals=(BACK,))
        for place in order:
            counts.begin_partition()
            counts.count(encode_events(parts[place]))
        assert figures(counts, BACK) == [(1, 1, 0, 0)]


SHOWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), min_size=1, max_size=12)
BUYS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 100), st.integers(1, 9)), max_size=12)


@pytest.mark.slow
@given(SHOWS, BUYS)
def test_every_user_by_a_computation_apart(shows: list[tuple[int, int]], buys: list[tuple[int, int, int]]) -> None:
    hour = DAY // 24
    lists = [shown(f"i{n}", f"u{user}", START + when * hour) for n, (user, when) in enumerate(shows)]
    acts = [buy(f"i{n}", START + when * hour, value) for n, when, value in buys if n < len(shows)]
    counts = counted(*lists, *acts)
    last = max(one.time for one in lists)
    spent, back = [], []
    for user in {one.user for one in lists}:
        own = {one.id: one.time for one in lists if one.user == user}
        paid = [
            act.value
            for act in acts
            if act.impression in own and 0 <= act.time - own[act.impression] <= 2 * DAY and act.value >= 5
        ]
        first, known = min(own.values()), min(own.values()) + DAY <= last
        came = any(VISIT < time - first <= DAY for time in own.values())
        spent.append((1.0, float(sum(paid)), 1.0, 0.0))
        back.append((float(known), float(known and came), 0.0, 0.0))
    assert figures(counts, SPENT) == sorted(spent)
    assert figures(counts, BACK) == sorted(back)
