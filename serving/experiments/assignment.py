"""Experiments: who sees which arm, what is counted, and what the counts say.

What is counted. An impression counts once; it is clicked or not, whatever the number of its interactions, so that an
arm's click rate is a share. A click that comes later than `attribution` after the impression does not count. Counts are
in Redis, for a view while it runs; the event log has every impression with its arm, and is what a replay judges by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import accumulate

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import redis
import xxhash

from serving.experiments.intervals import Interval, difference_interval, rate_interval, sample_ratio_p
from serving.replication import keys
from streaming.events.columns import IMPRESSION, INTERACTION

POPULARITY = "popularity"
"""The model of an arm that ranks by popularity alone."""

_FEWEST_IMPRESSIONS = 100
_FEWEST_CLICKS = 10
_MISMATCH = 0.001
"""Below this p-value the sample ratio is taken as broken, as is usual for this check."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: its share of users is `weight` of the sum of weights; `model` is a published model or `popularity`."""

    name: str
    model: str = "online"
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Experiment:
    """A split of users over arms. A user's arm depends on salt and user only: on any server, at any time, the same.

    >>> split = Experiment("ab", (Arm("a"), Arm("b")))
    >>> split.arm("u1") == split.arm("u1")
    True
    """

    name: str
    arms: tuple[Arm, ...]
    salt: str = ""
    """Empty: the name. Two experiments with different salts split independently of each other."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"experiment {self.name!r} needs at least one arm, and arms of different names: {names}")
        if any(not arm.weight > 0 for arm in self.arms):
            raise ValueError(f"experiment {self.name!r}: every arm's weight must be positive; leave an arm out instead")
        if any(":" in name for name in (self.name, *names)):
            raise ValueError(f"experiment {self.name!r}: names of experiments and arms must not contain ':'")

    def arm(self, user: str) -> Arm:
        """The user's arm."""
        seed = xxhash.xxh3_64_intdigest((self.salt or self.name).encode())
        share = xxhash.xxh3_64_intdigest(user.encode(), seed=seed) / 2**64
        total = sum(arm.weight for arm in self.arms)
        bounds = accumulate(arm.weight / total for arm in self.arms)
        return next((arm for arm, bound in zip(self.arms, bounds, strict=True) if share < bound), self.arms[-1])


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
    """What an experiment's counts say now. Intervals hold at all times at once, so peeking is allowed."""

    name: str
    arms: list[ArmSummary]
    comparisons: list[Comparison]
    sample_ratio_p: float
    sample_ratio_ok: bool
    """False: users did not fall to the arms as the weights say; believe no comparison before that is explained."""
    confidence: float


class ExperimentCounters:
    """Counts impressions and clicks of all experiments. Raises redis.RedisError when Redis is gone."""

    def __init__(
        self, client: redis.Redis, actions: AbstractSet[str] = frozenset({"click"}), attribution: int = 21_600_000
    ) -> None:
        self._client = client
        self._actions = pa.array(sorted(actions), pa.string())
        self._attribution = attribution

    def count(self, events: pa.RecordBatch) -> None:
        """Count events of the log (`EVENT_SCHEMA`); an impression that comes again is not counted again."""
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
        """Count impressions as clicked; each at most once, because its key goes with the first click."""
        with self._client.pipeline(transaction=False) as pipe:
            for name in impressions:
                pipe.getdel(keys.shown(name))
            found = [value.decode().partition(":") for value in pipe.execute() if value is not None]
        self._add(Counter((experiment, arm) for experiment, _, arm in found), "clicks", ())

    def summary(self, experiment: Experiment, alpha: float = 0.05) -> Summary:
        """What the counts say. The first arm is the control."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.hgetall(keys.experiment(experiment.name))
            for arm in experiment.arms:
                pipe.scard(keys.experiment_users(experiment.name, arm.name))
            counts, *users = pipe.execute()
        arms = [_summarise(arm, counts, n, alpha) for arm, n in zip(experiment.arms, users, strict=True)]
        p = sample_ratio_p(users, [arm.weight for arm in experiment.arms])
        comparisons = [_compare(arm, arms[0], alpha) for arm in arms[1:]]
        return Summary(experiment.name, arms, comparisons, p, p >= _MISMATCH, 1 - alpha)

    def _add(self, counts: Counter[tuple[str, str]], what: str, shown: Sequence[dict[str, str]]) -> None:
        with self._client.pipeline(transaction=True) as pipe:
            for (experiment, arm), count in counts.items():
                pipe.hincrby(keys.experiment(experiment), f"{arm}:{what}", count)
            for i in shown:
                user = xxhash.xxh3_64_digest(i["user"].encode())
                pipe.sadd(keys.experiment_users(i["experiment"], i["arm"]), user)
            pipe.execute()


def _summarise(arm: Arm, counts: dict[bytes, bytes], users: int, alpha: float) -> ArmSummary:
    impressions = int(counts.get(f"{arm.name}:impressions".encode(), 0))
    clicks = min(int(counts.get(f"{arm.name}:clicks".encode(), 0)), impressions)
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
