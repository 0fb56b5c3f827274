"""Counts of experiments in Redis, which all servers share.

An impression counts once, as clicked or not, whatever the number of its interactions, so that an arm's click rate is
a share. An interaction counts if the impression showed its item, and for `attribution` after the impression; one that
comes up to a minute before its impression waits for it. The counts are a view of a running experiment; a replay judges
by the event log, which has every impression with its arm.

Memory is bounded. The users of an arm are counted in `BUCKETS` buckets by a hash, with two numbers of 32 bits each:
1 MiB. Users who share a bucket are one unit of the statistics; the intervals stay valid, and are as wide as they would
be with that many users. Of impressions that still can be clicked, at most `most` are known, with four bytes for each of
their items; those beyond are left out of the counts, with their clicks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc
import redis
import xxhash

from serving.experiments.assignment import Experiment
from serving.experiments.counts.judged_experiments import JudgedExperiments, published_judged
from serving.experiments.inference.sums import ClickSums
from serving.experiments.summary import ExperimentSummary, summarise
from serving.replication.connection.redis_client import RedisClient
from streaming.events.columns import IMPRESSION, INTERACTION

BUCKETS: Final = 1 << 17
_SEED: Final = 0xB0C4E7
"""Of the hash of users, so that buckets are independent of arms."""
_SLICES: Final = 8
_EARLY: Final = 60_000
_COUNT: Final = (Path(__file__).parent / "count.lua").read_text("utf-8")


class ExperimentCounters:
    """Counts impressions and clicks of `experiments`. Raises redis.RedisError when Redis does not answer.

    `attribution` is in milliseconds.
    """

    def __init__(
        self,
        client: RedisClient,
        experiments: Sequence[Experiment],
        actions: AbstractSet[str] = frozenset({"click"}),
        attribution: int = 21_600_000,
        most: int = 1_000_000,
    ) -> None:
        self._client, self._names = client, client.names
        self._experiments = {experiment.name: experiment for experiment in experiments}
        self._allocations = {name: experiment.allocation for name, experiment in self._experiments.items()}
        self._arms = {(name, arm.name) for name, experiment in self._experiments.items() for arm in experiment.arms}
        self._actions = pa.array(sorted(actions), pa.string())
        self._attribution = attribution
        self._room = (-(-attribution // _SLICES), -(-most // _SLICES), client.names.opened, client.names.experiments)
        self._script = client.register_script(_COUNT)

    def count(self, events: pa.RecordBatch) -> None:
        """Count events of the log (`EVENT_SCHEMA`) of the experiments and their arms, between start and end."""
        kinds = events.column("kind")
        shown = events.filter(pc.and_(pc.equal(kinds, IMPRESSION), pc.not_equal(events.column("arm"), "")))
        acted = events.filter(pc.and_(pc.equal(kinds, INTERACTION), pc.is_in(events.column("action"), self._actions)))
        with self._client.pipeline(transaction=False) as pipe:
            for impression in shown.select(["id", "time", "user", "experiment", "arm", "items"]).to_pylist():
                if self._counts(impression):
                    self._shown(pipe, impression)
            clicked = defaultdict[str, set[str]](set)
            for interaction in acted.select(["impression", "item"]).to_pylist():
                clicked[interaction["impression"]].add(interaction["item"])
            for name, items in clicked.items():
                self._run(pipe, name, items, min(_EARLY, self._attribution))
            pipe.execute()

    def retain(self, client: RedisClient) -> None:
        """Keep the counts of these experiments; those of all others expire after `attribution`.

        To be called often: a server with another configuration lets these expire, as far as it knows.
        """
        known = sorted(cast(set[bytes], client.smembers(client.names.experiments)))
        with client.pipeline(transaction=False) as pipe:
            for key in known:
                pipe.pttl(key)
            lifetimes = pipe.execute()
        own = {key.encode() for key in self._own_keys()}
        with client.pipeline(transaction=False) as pipe:  # as a full Redis takes it
            for key, lifetime in zip(known, lifetimes, strict=True):
                if lifetime == -2:
                    pipe.srem(client.names.experiments, key)
                elif key in own and lifetime != -1:
                    pipe.persist(key)
                elif key not in own and lifetime == -1:
                    pipe.pexpire(key, self._attribution)
            pipe.execute()

    def summary(self, experiment: Experiment, alpha: float = 0.05) -> ExperimentSummary:
        """What the counts show. The first arm is the control."""
        key = self._names.experiment(experiment.name, experiment.allocation)
        counts = cast(dict[bytes, bytes], self._client.hgetall(key))
        found = {name.decode(): int(count) for name, count in counts.items()}
        names = [field.name for field in fields(ClickSums)]
        sums = [ClickSums(**{name: found.get(f"{arm.name}:{name}", 0) for name in names}) for arm in experiment.arms]
        return summarise(experiment, sums, BUCKETS, alpha, found.get("since"))

    def judged(self) -> JudgedExperiments | None:
        """What the log said when `recsys experiments` last published it."""
        return published_judged(self._client)

    def _counts(self, shown: dict[str, Any]) -> bool:
        place = shown["experiment"], shown["arm"]
        return place in self._arms and self._experiments[place[0]].lasts(shown["time"])

    def _shown(self, pipe: redis.client.Pipeline, shown: dict[str, Any]) -> None:
        name, arm = shown["experiment"], shown["arm"]
        allocation = self._allocations[name]
        sums = self._names.experiment(name, allocation)
        units = self._names.experiment_units(name, allocation, arm)
        bucket = xxhash.xxh3_64_intdigest(shown["user"].encode(), seed=_SEED) % BUCKETS
        self._run(pipe, shown["id"], shown["items"], self._attribution, sums, units, arm, bucket, BUCKETS)

    def _run(
        self, pipe: redis.client.Pipeline, impression: str, items: Iterable[str], keep: int, *place: str | int
    ) -> None:
        hashes = b"".join(xxhash.xxh32_digest(item.encode()) for item in items)
        self._script([self._names.shown(impression)], [hashes, keep, *self._room, *place], client=pipe)

    def _own_keys(self) -> Iterable[str]:
        for name, allocation in self._allocations.items():
            yield self._names.experiment(name, allocation)
        for name, arm in self._arms:
            yield self._names.experiment_units(name, self._allocations[name], arm)
