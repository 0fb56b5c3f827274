from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import msgspec
import numpy as np
import pytest

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.counters import BUCKETS, ExperimentCounters
from serving.replication.connection.redis_client import RedisClient
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from tests.serving.waiting import until

AB = Experiment("ab", (Arm("control", "frozen"), Arm("treatment", "online")))


def shown(name: str, arm: str, user: str = "", experiment: str = "ab", items: str = "x y") -> Impression:
    return Impression(id=name, time=1, user=user or name, items=items.split(), experiment=experiment, arm=arm)


def click(impression: str, action: str = "click", item: str = "x") -> Interaction:
    return Interaction(time=2, impression=impression, item=item, action=action)


@pytest.fixture
def counters(client: RedisClient) -> ExperimentCounters:
    return ExperimentCounters(client, [AB])


def count(counters: ExperimentCounters, *events: Event) -> None:
    counters.count(encode_events(events))


def figures(counters: ExperimentCounters, experiment: Experiment = AB) -> list[tuple[int, int, int]]:
    return [(arm.users, arm.impressions, arm.clicks) for arm in counters.summary(experiment).arms]


def keys_of(client: RedisClient) -> set[str]:
    return {key.decode() for key in client.scan_iter("*")}


def test_counts_say_since_when_they_are(client: RedisClient, counters: ExperimentCounters) -> None:
    assert counters.summary(AB).since is None
    before = _clock(client)
    count(counters, shown("i1", "control"))
    since = counters.summary(AB).since
    assert since is not None
    assert before <= since <= _clock(client)
    until(lambda: _clock(client) > since)
    count(counters, shown("i2", "treatment"), click("i2"))
    assert counters.summary(AB).since == since
    client.flushall()
    assert counters.summary(AB).since is None
    count(counters, shown("i3", "control"))
    after = counters.summary(AB).since
    assert after is not None
    assert after > since
    assert figures(counters) == [(1, 1, 0), (0, 0, 0)]


def _clock(client: RedisClient) -> int:
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000


class TestWhatCounts:
    def test_an_impression_counts_once_and_is_clicked_at_most_once(self, counters: ExperimentCounters) -> None:
        count(counters, shown("i1", "control"), shown("i2", "treatment"))
        count(counters, shown("i1", "control"), click("i1"), click("i1", item="y"))
        count(counters, click("i1"))
        assert figures(counters) == [(1, 1, 1), (1, 1, 0)]

    def test_an_impression_that_comes_again_after_its_click_counts_once(self, counters: ExperimentCounters) -> None:
        count(counters, shown("i1", "control"), click("i1"))
        count(counters, shown("i1", "control"))
        count(counters, click("i1"), click("i1", item="y"))
        assert figures(counters)[0] == (1, 1, 1)

    def test_a_click_on_an_item_that_was_not_shown_is_nobody_s(self, counters: ExperimentCounters) -> None:
        count(counters, shown("i1", "control"), click("i1", item="elsewhere"))
        assert figures(counters)[0] == (1, 1, 0)
        count(counters, click("i1", item="y"))
        assert figures(counters)[0] == (1, 1, 1)

    def test_only_chosen_actions_count(self, client: RedisClient) -> None:
        counters = ExperimentCounters(client, [AB], frozenset({"like"}))
        count(counters, shown("i1", "control"), click("i1", "click"))
        assert figures(counters)[0] == (1, 1, 0)
        count(counters, click("i1", "like"))
        assert figures(counters)[0] == (1, 1, 1)

    def test_users_are_distinct_and_experiments_apart(self, client: RedisClient) -> None:
        other = Experiment("other", AB.arms)
        counters = ExperimentCounters(client, [AB, other])
        count(counters, shown("i1", "control", "u"), shown("i2", "control", "u"), shown("i3", "control", "v"))
        count(counters, shown("i4", "control", "w", experiment="other"), shown("i5", "", "w", experiment=""))
        assert figures(counters)[0] == (2, 3, 0)
        assert figures(counters, other)[0] == (1, 1, 0)

    def test_nothing_counts_before_the_start_and_from_the_end_on(self, client: RedisClient) -> None:
        limited = replace(AB, start=2, end=4)
        counters = ExperimentCounters(client, [limited])
        count(counters, *(msgspec.structs.replace(shown(f"i{time}", "control"), time=time) for time in range(1, 5)))
        assert figures(counters, limited)[0] == (2, 2, 0)

    def test_a_click_before_its_impression_counts(self, counters: ExperimentCounters) -> None:
        for item in ("elsewhere", "y", "y"):
            count(counters, click("i1", item=item))
        count(counters, click("i2", item="elsewhere"))
        assert figures(counters) == [(0, 0, 0), (0, 0, 0)]
        count(counters, shown("i1", "control"), shown("i2", "treatment"))
        count(counters, click("i1"))
        assert figures(counters) == [(1, 1, 1), (1, 1, 0)]

    def test_a_late_click_does_not_count(self, client: RedisClient) -> None:
        counters = ExperimentCounters(client, [AB], attribution=1)
        count(counters, shown("i1", "control"))
        until(lambda: not client.exists("recsys:shown:i1"))
        count(counters, click("i1"))
        assert figures(counters)[0] == (1, 1, 0)

    def test_a_click_does_not_prolong_the_time_of_its_impression(self, client: RedisClient) -> None:
        counters = ExperimentCounters(client, [AB], attribution=60_000)
        count(counters, shown("i1", "control"))
        client.pexpire("recsys:shown:i1", 5_000)
        count(counters, click("i1"))
        assert 0 < client.pttl("recsys:shown:i1") <= 5_000

    def test_two_servers_count_together_and_a_restarted_one_goes_on(self, client: RedisClient) -> None:
        one, other = ExperimentCounters(client, [AB]), ExperimentCounters(client, [AB])
        count(one, shown("i1", "control", "u"))
        count(other, click("i1"), shown("i1", "control", "u"), shown("i2", "control", "u"))
        count(ExperimentCounters(client, [AB]), click("i2"), click("i1"))
        assert figures(one) == figures(other) == [(1, 2, 2), (0, 0, 0)]


def test_sums_are_those_of_the_raw_counts(client: RedisClient, counters: ExperimentCounters) -> None:
    """However impressions and clicks of users are mixed: the interval is that of the users' totals."""
    rng = np.random.default_rng(3)
    impressions_U, clicks_U = np.zeros(300, np.int64), np.zeros(300, np.int64)
    for n in range(40):
        events: list[Event] = []
        for k, user in enumerate(rng.integers(0, 300, 60).tolist()):
            events.append(shown(f"{n}.{k}", "control", f"u{user}"))
            impressions_U[user] += 1
            if rng.random() < user / 600:
                events.append(click(f"{n}.{k}"))
                clicks_U[user] += 1
        count(counters, *events)
    arm = counters.summary(AB).arms[0]
    n, x, y = 300, impressions_U.mean(), clicks_U.mean()
    covariance = np.cov(impressions_U, clicks_U)
    ctr = y / x
    variance = (covariance[1, 1] - 2 * ctr * covariance[0, 1] + ctr**2 * covariance[0, 0]) / x**2
    rho2 = (-2 * np.log(0.05) + np.log(-2 * np.log(0.05) + 1)) / 5000
    half = np.sqrt(variance * 2 * (n * rho2 + 1) / (n**2 * rho2) * np.log(np.sqrt(n * rho2 + 1) / 0.05))
    assert (arm.impressions, arm.clicks) == (impressions_U.sum(), clicks_U.sum())
    assert abs(arm.users - 300) <= 3  # users may share a bucket
    assert arm.ctr == pytest.approx(ctr)
    assert arm.interval == pytest.approx((ctr - half, ctr + half), rel=0.02)


class TestAllocations:
    def test_other_weights_are_counted_from_zero(self, client: RedisClient, counters: ExperimentCounters) -> None:
        count(counters, shown("i1", "control"), shown("i2", "treatment"), click("i1"))
        changed = Experiment("ab", (Arm("control", "frozen", 1), Arm("treatment", "online", 9)))
        after = ExperimentCounters(client, [changed])
        count(after, shown("i3", "treatment"))
        assert figures(after, changed) == [(0, 0, 0), (1, 1, 0)]
        assert counters.summary(AB).allocation != after.summary(changed).allocation

    def test_a_click_counts_for_the_allocation_that_showed_the_list(self, client: RedisClient) -> None:
        changed = Experiment("ab", (Arm("control", "frozen", 1), Arm("treatment", "online", 9)))
        before, after = ExperimentCounters(client, [AB]), ExperimentCounters(client, [changed])
        count(before, shown("i1", "control"))
        count(after, click("i1"))
        assert figures(before) == [(1, 1, 1), (0, 0, 0)]
        assert figures(after, changed) == [(0, 0, 0), (0, 0, 0)]

    def test_former_allocations_leave_redis_and_current_ones_stay(self, client: RedisClient) -> None:
        changed = Experiment("ab", (Arm("control", "frozen", 1), Arm("treatment", "online", 9)))
        before = ExperimentCounters(client, [AB], attribution=50)
        after = ExperimentCounters(client, [changed], attribution=50)
        count(before, shown("i1", "control"))
        count(after, shown("i2", "control"))
        former = {key for key in keys_of(client) if AB.allocation in key}
        assert len(former) == 2

        def gone() -> bool:
            after.retain(client)
            return not former & keys_of(client)

        until(gone)
        after.retain(client)
        current = {key.decode() for key in cast(set[bytes], client.smembers("recsys:experiments"))}
        assert current == {key for key in keys_of(client) if changed.allocation in key}
        assert len(current) == 2
        assert all(client.ttl(key) == -1 for key in current)

    def test_counts_stay_as_long_as_one_server_has_their_experiment(self, client: RedisClient) -> None:
        changed = Experiment("ab", (Arm("control", "frozen", 1), Arm("treatment", "online", 9)))
        before, after = ExperimentCounters(client, [AB]), ExperimentCounters(client, [changed])
        count(before, shown("i1", "control"))
        after.retain(client)
        former = [key for key in keys_of(client) if AB.allocation in key]
        assert all(client.ttl(key) > 0 for key in former)
        before.retain(client)
        assert all(client.ttl(key) == -1 for key in former)

    @pytest.mark.parametrize(("experiment", "arm"), [("invented", "control"), ("ab", "invented"), ("", "control")])
    def test_what_nobody_configured_makes_no_keys(
        self, client: RedisClient, counters: ExperimentCounters, experiment: str, arm: str
    ) -> None:
        count(counters, *(shown(f"i{i}", arm, experiment=f"{experiment}") for i in range(20)))
        assert keys_of(client) == set()
        assert figures(counters) == [(0, 0, 0), (0, 0, 0)]


class TestMemory:
    def test_users_without_end_take_a_mebibyte_an_arm(self, client: RedisClient) -> None:
        counters = ExperimentCounters(client, [AB])
        for n in range(10):
            count(counters, *(shown(f"{n}.{i}", "control", f"user {n} {i}") for i in range(100)))
        (units,) = (key for key in keys_of(client) if key.endswith(":control"))
        spare = 2 * BUCKETS  # that Redis 6 and 7 allocate
        assert cast(int, client.memory_usage(units)) <= 8 * BUCKETS + spare + 64 * 1024

    @pytest.mark.parametrize("event", [lambda i: shown(f"i{i}", "control"), lambda i: click(f"i{i}")])
    def test_impressions_that_can_be_clicked_are_bounded(
        self, client: RedisClient, event: Callable[[int], Event]
    ) -> None:
        counters = ExperimentCounters(client, [AB], attribution=600_000, most=80)
        count(counters, *(event(i) for i in range(400)))
        open_keys = [key for key in keys_of(client) if key.startswith("recsys:shown:")]
        assert 10 <= len(open_keys) <= 80 + 10

    def test_what_is_left_out_takes_its_clicks_with_it(self, client: RedisClient) -> None:
        counters = ExperimentCounters(client, [AB], attribution=600_000, most=80)
        for n in range(4):
            names = [f"{n}.{i}" for i in range(100)]
            count(counters, *(shown(name, "control", "u") for name in names), *(click(name) for name in names))
        _, impressions, clicks = figures(counters)[0]
        assert impressions == clicks < 400
