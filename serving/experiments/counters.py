"""Counts of experiments, and what they show.

An impression counts once, as clicked or not, whatever the number of its interactions, so that an arm's click rate is
a share. A click later than `attribution` after the impression does not count. The counts are in Redis and show a
running experiment; a replay judges by the event log, which has every impression with its arm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import redis
import xxhash

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.intervals import Interval, difference_interval, rate_interval, sample_ratio_p
from serving.replication import keys
from streaming.events.columns import IMPRESSION, INTERACTION

_FEWEST_IMPRESSIONS = 100
_FEWEST_CLICKS = 10
_MISMATCH = 0.001
"""The usual threshold of this check: below this p-value the sample ratio counts as mismatched."""


class ArmSummary(msgspec.Struct, frozen=True):
    """Counts of an arm; `ctr` is None without impressions."""

    name: str
    model: str
    users: int
    impressions: int
    clicks: int
    ctr: float | None
    interval: Interval


class Comparison(msgspec.Struct, frozen=True):
    """An arm's click rate less that of the first arm."""

    arm: str
    control: str
    difference: float | None
    interval: Interval
    verdict: str
    """`too few data`, `no difference shown`, `better` or `worse`."""


class Summary(msgspec.Struct, frozen=True):
    """What an experiment's counts show now. Intervals are valid at all times simultaneously, so peeking is allowed."""

    name: str
    arms: list[ArmSummary]
    comparisons: list[Comparison]
    sample_ratio_p: float
    sample_ratio_ok: bool
    """False: users are not distributed as the weights say; explain that before trusting any comparison."""
    confidence: float


class ExperimentCounters:
    """Counts impressions and clicks of all experiments. Raises redis.RedisError when Redis does not answer."""

    def __init__(
        self, client: redis.Redis, actions: AbstractSet[str] = frozenset({"click"}), attribution: int = 21_600_000
    ) -> None:
        self._client = client
        self._actions = pa.array(sorted(actions), pa.string())
        self._attribution = attribution

    def count(self, events: pa.RecordBatch) -> None:
        """Count events of the log (`EVENT_SCHEMA`); a repeated impression is counted once."""
        kinds = events.column("kind")
        shown = events.filter(pc.and_(pc.equal(kinds, IMPRESSION), pc.not_equal(events.column("arm"), "")))
        if shown.num_rows:
            self._shown(shown.select(["id", "user", "experiment", "arm"]).to_pylist())
        acted = events.filter(pc.and_(pc.equal(kinds, INTERACTION), pc.is_in(events.column("action"), self._actions)))
        if acted.num_rows:
            self._acted(set(acted.column("impression").to_pylist()))

    def _shown(self, impressions: list[dict[str, str]]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for i in impressions:
                value = f"{i['experiment']}:{i['arm']}"
                pipe.set(keys.shown(i["id"]), value, nx=True, px=self._attribution)
            new = [i for i, done in zip(impressions, pipe.execute(), strict=True) if done]
        self._add(Counter((i["experiment"], i["arm"]) for i in new), "impressions", new)

    def _acted(self, impressions: set[str]) -> None:
        """Count impressions as clicked; each at most once, because the first click deletes its key."""
        with self._client.pipeline(transaction=False) as pipe:
            for name in impressions:
                pipe.getdel(keys.shown(name))
            found = [value.decode().partition(":") for value in pipe.execute() if value is not None]
        self._add(Counter((experiment, arm) for experiment, _, arm in found), "clicks", ())

    def summary(self, experiment: Experiment, alpha: float = 0.05) -> Summary:
        """What the counts show. The first arm is the control."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.hgetall(keys.experiment(experiment.name))
            for arm in experiment.arms:
                pipe.scard(keys.experiment_users(experiment.name, arm.name))
            counts, *users = pipe.execute()
        arms = [_summarise(arm, counts, n, alpha) for arm, n in zip(experiment.arms, users, strict=True)]
        p = sample_ratio_p(users, [arm.weight for arm in experiment.arms])
        comparisons = [_compare(arm, arms[0], alpha) for arm in arms[1:]]
        return Summary(experiment.name, arms, comparisons, p, p >= _MISMATCH, 1 - alpha)

    def _add(self, counts: Counter[tuple[str, str]], what: keys.ArmCounter, shown: Sequence[dict[str, str]]) -> None:
        with self._client.pipeline(transaction=True) as pipe:
            for (experiment, arm), count in counts.items():
                pipe.hincrby(keys.experiment(experiment), keys.arm_counter(arm, what), count)
            for i in shown:
                user = xxhash.xxh3_64_digest(i["user"].encode())
                pipe.sadd(keys.experiment_users(i["experiment"], i["arm"]), user)
            pipe.execute()


def _summarise(arm: Arm, counts: dict[bytes, bytes], users: int, alpha: float) -> ArmSummary:
    impressions = int(counts.get(keys.arm_counter(arm.name, "impressions").encode(), 0))
    clicks = min(int(counts.get(keys.arm_counter(arm.name, "clicks").encode(), 0)), impressions)
    ctr = clicks / impressions if impressions else None
    return ArmSummary(arm.name, arm.model, users, impressions, clicks, ctr, rate_interval(clicks, impressions, alpha))


def _compare(arm: ArmSummary, control: ArmSummary, alpha: float) -> Comparison:
    interval = difference_interval((arm.clicks, arm.impressions), (control.clicks, control.impressions), alpha)
    difference = None if arm.ctr is None or control.ctr is None else arm.ctr - control.ctr
    return Comparison(arm.name, control.name, difference, interval, _verdict(arm, control, interval))


def _verdict(arm: ArmSummary, control: ArmSummary, interval: Interval) -> str:
    few = min(arm.impressions, control.impressions) < _FEWEST_IMPRESSIONS
    if few or arm.clicks + control.clicks < _FEWEST_CLICKS:
        return "too few data"
    if interval[0] > 0:
        return "better"
    return "worse" if interval[1] < 0 else "no difference shown"
