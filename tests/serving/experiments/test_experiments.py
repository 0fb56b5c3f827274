from __future__ import annotations

from collections import Counter

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counters import ExperimentCounters
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from tests.serving.waiting import until

AB = Experiment("ab", (Arm("control", "frozen"), Arm("treatment", "online")))


def shown(name: str, arm: str, user: str = "", experiment: str = "ab") -> Impression:
    return Impression(id=name, time=1, user=user or name, items=["x"], experiment=experiment, arm=arm)


def click(impression: str, action: str = "click", item: str = "x") -> Interaction:
    return Interaction(time=2, impression=impression, item=item, action=action)


@pytest.fixture
def counters(client: redis.Redis) -> ExperimentCounters:
    return ExperimentCounters(client)


def count(counters: ExperimentCounters, *events: Event) -> None:
    counters.count(encode_events(events))


def figures(counters: ExperimentCounters) -> list[tuple[int, int, int]]:
    return [(arm.users, arm.impressions, arm.clicks) for arm in counters.summary(AB).arms]


class TestAssignment:
    @given(st.text(min_size=1))
    def test_an_arm_depends_on_salt_and_user_only(self, user: str) -> None:
        again = Experiment("other name", AB.arms, salt="ab")
        assert AB.arm(user) == again.arm(user)

    def test_users_fall_to_arms_by_weight(self) -> None:
        split = Experiment("w", (Arm("a", weight=1), Arm("b", weight=2), Arm("c", weight=7)))
        seen = Counter(split.arm(f"user {i}").name for i in range(20_000))
        for name, share in (("a", 0.1), ("b", 0.2), ("c", 0.7)):
            assert abs(seen[name] / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5

    def test_salts_split_independently(self) -> None:
        other = Experiment("ab", AB.arms, salt="another")
        both = Counter((AB.arm(f"{i}").name, other.arm(f"{i}").name) for i in range(10_000))
        assert all(abs(n / 10_000 - 0.25) < 0.025 for n in both.values())
        assert len(both) == 4

    def test_growing_an_arm_moves_users_only_into_it(self) -> None:
        small = Experiment("g", (Arm("new", weight=1), Arm("old", weight=9)))
        large = Experiment("g", (Arm("new", weight=5), Arm("old", weight=5)))
        moves = Counter((small.arm(f"{i}").name, large.arm(f"{i}").name) for i in range(2000))
        assert ("new", "old") not in moves
        assert moves["old", "new"] > 0

    def test_what_makes_no_experiment_is_said(self) -> None:
        for arms, reason in (
            ((), "at least one arm"),
            ((Arm("a"), Arm("a")), "two arms have the same name"),
            ((Arm("a", weight=0),), "must be positive"),
            ((Arm("a:b"),), "':'"),
        ):
            with pytest.raises(ValueError, match=reason):
                Experiment("e", arms)


class TestCounting:
    def test_an_impression_counts_once_and_is_clicked_at_most_once(self, counters: ExperimentCounters) -> None:
        count(counters, shown("i1", "control"), shown("i2", "treatment"))
        count(counters, shown("i1", "control"), click("i1"), click("i1", item="y"))
        count(counters, click("i1"))
        assert figures(counters) == [(1, 1, 1), (1, 1, 0)]

    def test_only_chosen_actions_count(self, client: redis.Redis) -> None:
        counters = ExperimentCounters(client, frozenset({"like"}))
        count(counters, shown("i1", "control"), click("i1", "click"))
        assert figures(counters)[0] == (1, 1, 0)
        count(counters, click("i1", "like"))
        assert figures(counters)[0] == (1, 1, 1)

    def test_users_are_distinct_and_experiments_apart(self, counters: ExperimentCounters) -> None:
        count(counters, shown("i1", "control", "u"), shown("i2", "control", "u"), shown("i3", "control", "v"))
        count(counters, shown("i4", "control", "w", experiment="other"), shown("i5", "", "w", experiment=""))
        assert figures(counters)[0] == (2, 3, 0)

    def test_a_click_on_nothing_known_is_nobody_s(self, counters: ExperimentCounters) -> None:
        count(counters, click("never shown"))
        assert figures(counters) == [(0, 0, 0), (0, 0, 0)]

    def test_a_late_click_does_not_count(self, client: redis.Redis) -> None:
        counters = ExperimentCounters(client, attribution=1)
        count(counters, shown("i1", "control"))
        until(lambda: not client.exists("recsys:shown:i1"))
        count(counters, click("i1"))
        assert figures(counters)[0] == (1, 1, 0)


class TestSummary:
    def fill(self, client: redis.Redis, control: tuple[int, int, int], treatment: tuple[int, int, int]) -> None:
        for name, (users, impressions, clicks) in (("control", control), ("treatment", treatment)):
            mapping = {f"{name}:impressions": impressions, f"{name}:clicks": clicks}
            client.hset("recsys:experiment:ab", mapping=mapping)  # type: ignore[arg-type]
            client.sadd(f"recsys:experiment:ab:users:{name}", *range(users))

    def test_a_clear_difference(self, client: redis.Redis, counters: ExperimentCounters) -> None:
        self.fill(client, (500, 5000, 250), (510, 5000, 500))
        summary = counters.summary(AB)
        (comparison,) = summary.comparisons
        assert comparison.difference == pytest.approx(0.05)
        assert comparison.interval[0] > 0
        assert comparison.verdict == "better"
        assert summary.sample_ratio_ok
        assert summary.arms[0].ctr == 0.05
        low, high = summary.arms[0].interval
        assert low < 0.05 < high

    def test_the_other_way_round_it_is_worse(self, client: redis.Redis, counters: ExperimentCounters) -> None:
        self.fill(client, (500, 5000, 500), (510, 5000, 250))
        assert counters.summary(AB).comparisons[0].verdict == "worse"

    def test_no_difference(self, client: redis.Redis, counters: ExperimentCounters) -> None:
        self.fill(client, (500, 5000, 250), (510, 5000, 255))
        assert counters.summary(AB).comparisons[0].verdict == "no difference shown"

    def test_few_figures_decide_nothing(self, client: redis.Redis, counters: ExperimentCounters) -> None:
        self.fill(client, (9, 99, 0), (9, 5000, 4999))
        assert counters.summary(AB).comparisons[0].verdict == "too few data"

    def test_a_broken_split_is_reported(self, client: redis.Redis, counters: ExperimentCounters) -> None:
        self.fill(client, (500, 500, 5), (700, 700, 7))
        assert not counters.summary(AB).sample_ratio_ok

    def test_nothing_yet(self, counters: ExperimentCounters) -> None:
        summary = counters.summary(AB)
        assert summary.arms[0].ctr is None
        assert summary.arms[0].interval == (0.0, 1.0)
        assert summary.comparisons[0].verdict == "too few data"
        assert summary.sample_ratio_p == 1.0
