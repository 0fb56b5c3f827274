"""What guardrails count of the impressions in the log, and when they call an arm worse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.log_counts import LogCounts
from serving.experiments.guardrail_summary import GuardrailComparison, summarise_guardrail
from serving.experiments.guardrails import Guardrail, Watched
from serving.experiments.inference.intervals import one_sided_width
from streaming.events.schema import Impression
from streaming.ingest.codec import encode_events

AB = Experiment("ab", (Arm("control", "popularity"), Arm("treatment", "online")))
ARMS = tuple(arm.name for arm in AB.arms)
Floats = npt.NDArray[np.float64]


def shown(name: str, user: str, arm: str, *, items: Sequence[str] = ("x", "y"), **more: object) -> Impression:
    return Impression(id=name, time=9, user=user, items=list(items), experiment="ab", arm=arm, **more)  # type: ignore[arg-type]


def watched(name: Watched, *events: Impression) -> dict[str, list[tuple[float, ...]]]:
    counts = LogCounts(AB, 5, 0, watch=True)
    counts.begin_partition()
    counts.count(encode_events(list(events)))
    return {arm: sorted(map(tuple, of.T.tolist())) for arm, of in counts.watched(name).items()}


def test_latency_is_of_the_impressions_that_say_it() -> None:
    events = [
        shown("a", "u", "control", latency=5.0),
        shown("b", "u", "control", latency=7.0),
        shown("c", "u", "control"),
        shown("d", "v", "control"),
    ]
    assert watched("latency", *events) == {"control": [(0, 0, 0, 0), (2, 12, 0, 0)], "treatment": []}


def test_degraded_is_what_says_so_or_was_ranked_by_popularity_in_place_of_a_model() -> None:
    events = [
        shown("a", "u", "control", model="popularity"),
        shown("b", "v", "treatment", model="popularity"),
        shown("c", "v", "treatment", model="online@1", degraded=["rows", "features"]),
        shown("d", "v", "treatment", model="online@1"),
    ]
    assert watched("degraded", *events) == {"control": [(1, 0, 0, 0)], "treatment": [(3, 2, 0, 0)]}


def test_users_who_saw_several_arms_are_left_out() -> None:
    events = [shown("a", "u", "control", latency=1.0), shown("b", "u", "treatment", latency=1.0)]
    assert watched("latency", *events) == {"control": [], "treatment": []}


def test_the_time_before_is_counted_apart() -> None:
    before = [
        Impression(id="o", time=1, user="u", items=["x"], latency=3.0, degraded=["rows"], model="online@1"),
        Impression(id="p", time=2, user="u", items=["x"], latency=4.0, model="popularity"),
    ]
    now = shown("a", "u", "treatment", latency=6.0, model="online@2")
    assert watched("latency", *before, now)["treatment"] == [(1, 6, 2, 7)]
    assert watched("degraded", *before, now)["treatment"] == [(1, 0, 2, 1)]
    assert watched("diversity", *before, now, shown("b", "v", "treatment"))["treatment"] == [(4, 2, 0, 0)]


def test_variety_is_of_the_first_lists_of_users_who_follow_each_other() -> None:
    lists = [("u", "xy"), ("u", "ab"), ("v", "yz"), ("w", "xy"), ("w", "xy"), ("z", "xy"), ("last", "pq")]
    events = [shown(f"i{n}", user, "treatment", items=list(items)) for n, (user, items) in enumerate(lists)]
    assert watched("diversity", *events) == {"control": [], "treatment": [(4, 2, 0, 0), (4, 3, 0, 0)]}
    assert watched("coverage", *events) == {"control": [], "treatment": []}
    many = [shown(f"i{n}", f"u{n}", "control", items=[f"item {n % 5}", "x"]) for n in range(45)]
    assert watched("coverage", *many)["control"] == [(40, 6, 0, 0), (40, 6, 0, 0)]


def columns(places: Floats, sums: Floats) -> Floats:
    return np.stack([places, sums, np.zeros(len(sums)), np.zeros(len(sums))])


def compared(
    name: Watched, control: Floats, treatment: Floats, *, margin: float = 0.0, ratio: bool = True
) -> GuardrailComparison:
    rail = Guardrail(name, margin=margin)
    return summarise_guardrail(AB, rail, dict(zip(ARMS, (control, treatment), strict=True)), ratio).comparisons[0]


def slow(rng: np.random.Generator, users: int, mean: float) -> Floats:
    count = (1 + rng.poisson(3, users)).astype(np.float64)
    return columns(count, count * mean * rng.lognormal(0, 0.5, users))


def test_harm_is_the_difference_of_ratios_less_its_one_sided_sequence() -> None:
    rng = np.random.default_rng(0)
    control, treatment = slow(rng, 800, 10.0), slow(rng, 600, 12.0)
    found = compared("latency", control, treatment)
    variance, rates = 0.0, []
    for of in (control, treatment):
        rates.append(of[1].sum() / of[0].sum())
        variance += ((of[1] - rates[-1] * of[0]) / of[0].mean()).var(ddof=1) / of.shape[1]
    harm = rates[1] - rates[0] - one_sided_width(1400 * variance, 1400, 0.05)
    assert found.difference == pytest.approx(rates[1] - rates[0])
    assert found.harm == pytest.approx(harm)
    assert harm > 0
    assert found.verdict == "worse"
    assert compared("latency", control, treatment, margin=harm * 1.01).verdict == "not shown to be worse"
    assert compared("latency", treatment, control).verdict == "not shown to be worse"


def test_what_users_met_before_makes_harm_clearer() -> None:
    rng = np.random.default_rng(2)
    arms = []
    for extra in (0.0, 1.0):
        slowness, lists = rng.lognormal(2, 1.0, 600), np.full(600, 4.0)
        now, before = (lists * (slowness + more + rng.normal(0, 1, 600)) for more in (extra, 0.0))
        arms.append(np.stack([lists, now, lists, before]))
    plain = [columns(one[0], one[1]) for one in arms]
    (adjusted_harm, plain_harm) = (compared("latency", *of).harm for of in (arms, plain))
    assert adjusted_harm is not None
    assert plain_harm is not None
    assert 0.0 < adjusted_harm < 1.0
    assert plain_harm < 0.0
    assert compared("latency", *arms).difference == compared("latency", *plain).difference


@pytest.mark.parametrize("name", ["diversity", "coverage"])
def test_less_variety_is_worse(name: Watched) -> None:
    rng = np.random.default_rng(0)
    places = np.full(500, 20.0)
    much, less = (columns(places, rng.binomial(20, share, 500).astype(float)) for share in (0.9, 0.6))
    assert compared(name, much, less).verdict == "worse"
    assert compared(name, less, much).verdict == "not shown to be worse"


def test_an_arm_that_fails_often_is_worse_than_one_that_never_did() -> None:
    never, often = columns(np.ones(500), np.zeros(500)), columns(np.ones(500), np.r_[np.ones(250), np.zeros(250)])
    rarely = columns(np.ones(500), np.r_[np.ones(25), np.zeros(475)])
    assert compared("degraded", never, often).verdict == "worse"
    assert compared("degraded", never, rarely).verdict == "not shown to be worse"
    assert compared("degraded", often, never).verdict == "not shown to be worse"


def test_what_keeps_a_guardrail_from_a_verdict_is_said() -> None:
    rng = np.random.default_rng(0)
    enough, few, none = slow(rng, 500, 1.0), slow(rng, 99, 9.0), columns(np.zeros(500), np.zeros(500))
    one = columns(np.ones(500), np.r_[1e9, np.ones(499)])
    assert compared("latency", enough, few).verdict == "too few data"
    assert compared("latency", enough, one).verdict == "too few data"
    assert compared("latency", enough, none).verdict == "no data"
    assert compared("latency", enough, enough, ratio=False).verdict == "sample ratio broken"


@pytest.mark.slow
def test_equal_arms_are_called_worse_by_looking_often_at_most_as_often_as_stated() -> None:
    told = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        control, treatment = slow(rng, 1_000, 10.0), slow(rng, 1_000, 10.0)
        told += any(
            compared("latency", control[:, :users], treatment[:, :users]).verdict == "worse"
            for users in range(100, 1_001, 100)
        )
    assert told <= 200 * 0.05
