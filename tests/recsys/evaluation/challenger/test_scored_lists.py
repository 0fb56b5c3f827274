"""Which lists both models have scored, by the log."""

from __future__ import annotations

import msgspec
import pytest

from recsys.evaluation.challenger.scored_lists import ScoredLists, Version, scored_lists
from streaming.events.schema import Event, Impression, Interaction, ShadowScores
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner
from streaming.join.labeled_impression import LabelRule
from streaming.join.tasks_joiner import Task, TasksJoiner
from streaming.log.memory_log import MemoryLog
from streaming.log.partitioning import split

CHAMPION, CHALLENGER = Version("online", "aa"), Version("wide", "bb")
BY_CHAMPION, BY_CHALLENGER = "online@step-1-aa-0", "wide@step-2-bb-0"


def shown(id_: str, time: int = 0, model: str = BY_CHAMPION, items: str = "xy", user: str = "u") -> Impression:
    scores = [0.5, 0.25][: len(items)]
    return Impression(id_, time, user, list(items), scores=scores, propensities=[0.75, 1.0][: len(items)], model=model)


def shadow(id_: str, model: str = BY_CHALLENGER, scores: tuple[float, ...] = (0.1, 0.9)) -> ShadowScores:
    return ShadowScores(0, id_, "u", model, list(scores), f"{id_} {model}")


END: list[Event] = [Impression("end", 10_000, "z", ["x"])]
"""Closes all windows."""


def found_in(*events: Event, since: int = 0, partitions: int = 1) -> ScoredLists:
    log = MemoryLog(partitions)
    for partition, part in split(encode_events(events), partitions):
        log.append(part, partition)
    return scored_lists(log, held, CHAMPION, CHALLENGER, since)


def held() -> Joiner:
    return Joiner(LabelRule(), wait=100, lateness=5, max_pending=50, labels="held")


def test_scores_of_both_meet_the_labels() -> None:
    found = found_in(shown("a"), shadow("a"), Interaction(10, "a", "y"), *END)
    (one,) = found.lists
    assert (one.champion_K.tolist(), one.challenger_K.tolist()) == ([0.5, 0.25], [0.1, 0.9])
    assert (one.labels_K.tolist(), one.propensities_K.tolist(), one.user) == ([0, 1], [0.75, 1], "u")
    assert (found.champions, found.unlabelled) == (1, 0)


def test_what_the_challenger_has_ranked_counts_where_the_champion_scored_it() -> None:
    found = found_in(shown("a", model=BY_CHALLENGER), shadow("a", BY_CHAMPION), *END)
    (one,) = found.lists
    assert (one.champion_K.tolist(), one.challenger_K.tolist()) == ([0.1, 0.9], [0.5, 0.25])


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([shown("a")], id="no scores of the challenger"),
        pytest.param([shown("a"), shadow("a", "wide@step-2-cc-0")], id="another run"),
        pytest.param([shown("a"), shadow("a", "deep@step-2-bb-0")], id="another model"),
        pytest.param([shown("a", model="popularity"), shadow("a")], id="ranked by popularity"),
        pytest.param([shown("a"), shadow("a", scores=(0.5,))], id="too few scores"),
        pytest.param([shadow("a")], id="no impression"),
    ],
)
def test_other_lists_are_left_out(events: list[Event]) -> None:
    assert found_in(*events, *END).lists == []


def test_a_list_counts_once_all_its_labels_are_known() -> None:
    found = found_in(shown("a"), shadow("a"), Interaction(10, "a", "y"))
    assert (len(found.lists), found.unlabelled) == (0, 1)


def test_scores_may_come_after_the_labels_and_lists_from_a_time_on() -> None:
    found = found_in(shown("a", 10), shown("b", 20), *END, shadow("a"), shadow("b"), since=20)
    assert len(found.lists) == 1
    assert found.champions == 1


def test_partitions_are_read_each_for_itself() -> None:
    events: list[Event] = []
    for n in range(20):
        events += [shown(f"n{n}", 10 * n), shadow(f"n{n}"), Interaction(10 * n + 1, f"n{n}", "x")]
    events += [Impression(f"end{n}", 10_000, "z", ["x"]) for n in range(20)]
    found = found_in(*events, partitions=3)
    assert len(found.lists) == 20
    assert all(one.labels_K.tolist() == [1, 0] for one in found.lists)


def test_with_several_tasks_the_first_one_counts() -> None:
    log = MemoryLog()
    log.append(encode_events([shown("a"), shadow("a"), Interaction(10, "a", "y", action="buy"), *END]))
    tasks = [Task("click", LabelRule(), 100), Task("buy", LabelRule(frozenset({"buy"})), 100)]

    def joiner() -> TasksJoiner:
        return TasksJoiner(
            tasks, lambda task, n: Joiner(task.rule, wait=100, lateness=5, max_pending=9, labels="held", task=n)
        )

    (one,) = scored_lists(log, joiner, CHAMPION, CHALLENGER).lists
    assert one.labels_K.tolist() == [0, 0]


def test_a_model_without_a_run_is_known_by_its_name() -> None:
    assert Version("kept").made("kept@step-1-aa-0")
    assert not Version("kept").made("keptt@step-1")


def test_values_of_a_feature_are_read_where_the_log_has_them() -> None:
    log, described = MemoryLog(), msgspec.structs.replace(shown("a"), item_features={"kind": ["tea", ["cake", 3]]})
    log.append(encode_events([described, shadow("a"), shown("b"), shadow("b"), *END]))
    found = scored_lists(log, held, CHAMPION, CHALLENGER, feature="kind")
    assert [one.values_K for one in found.lists] == [["tea", ["cake", 3]], None]
