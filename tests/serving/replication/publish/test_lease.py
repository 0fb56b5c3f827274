"""One trainer a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from redis.client import Pipeline

from recsys.errors import LeaseError
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import connect
from serving.replication.keys import ModelKeys
from serving.replication.publish import lease as leases
from serving.replication.publish.lease import LIFETIME, Holder, Lease
from serving.replication.publish.publisher import Publisher
from tests.serving.fakes import artefact, delta
from tests.serving.waiting import until

KEY = ModelKeys("m").lease
FIRST, SECOND = (Holder(token, f"host-{token}", pid, f"run-{token}", 0) for token, pid in (("a", 11), ("b", 22)))


@dataclass
class Trainer:
    """One that publishes under a lease."""

    client: RedisClient
    holder: Holder

    def __post_init__(self) -> None:
        self.lease = Lease(self.client, "m", self.holder)
        self.publisher = Publisher(self.client, "m", lease=self.lease)


def holder(client: RedisClient) -> bytes | None:
    return cast(bytes | None, client.get(KEY))


def contents(client: RedisClient) -> dict[bytes, bytes]:
    """Everything in Redis by key."""
    return {key: cast(bytes, client.dump(key)) for key in cast(list[bytes], client.keys("*"))}


def test_a_second_trainer_is_refused_and_told_who_publishes_and_what_to_do(client: RedisClient) -> None:
    Trainer(client, FIRST).publisher.publish(delta(1, {1: 1.0}, full=True))
    published = contents(client)
    with pytest.raises(LeaseError) as refused, Trainer(client, SECOND).lease.kept():
        pass
    for part in ("'m'", "process 11", "host-a", "run-a", "1970-01-01 00:00:00 UTC", "[redis]", "--no-publish"):
        assert part in str(refused.value)
    assert contents(client) == published


def test_a_trainer_that_lost_its_lease_writes_nothing_more(client: RedisClient) -> None:
    lost = Trainer(client, FIRST).publisher
    lost.publish(delta(1, {1: 1.0}, full=True))
    client.delete(KEY)  # as when it stood still for longer than the lease
    Trainer(client, SECOND).publisher.publish(delta(7, {1: 7.0}, full=True))
    published = contents(client)
    writes: list[Callable[[], None]] = [
        lambda: lost.publish(delta(2, {1: 2.0}, full=True)),
        lambda: lost.publish_artefact(artefact()),
        lambda: lost.publish_entities({"u": {"age": 3}}, {}),
        lambda: lost.publish_catalog([("a", 1.0)], []),
        lambda: lost.publish_status({"steps": 1}),
    ]
    for write in writes:
        with pytest.raises(LeaseError, match="process 22"):
            write()
    assert contents(client) == published


def test_a_lease_lost_between_check_and_write_stops_the_write(client: RedisClient) -> None:
    def fill(pipe: Pipeline) -> None:
        client.delete(KEY)
        Lease(client, "m", SECOND).transaction()
        pipe.set("written", "by the first")

    with pytest.raises(LeaseError, match="process 22"):
        Lease(client, "m", FIRST).transaction(fill)
    assert not client.exists("written")


def test_a_renewal_between_check_and_write_repeats_both(client: RedisClient) -> None:
    lease = Lease(client, "m", FIRST)
    tries: list[int] = []

    def fill(pipe: Pipeline) -> None:
        if not tries:
            lease.transaction()
        tries.append(1)
        pipe.incr("written")

    lease.transaction(fill)
    assert (len(tries), client.get("written")) == (2, b"1")


def test_after_redis_was_emptied_the_running_trainer_takes_it_again(client: RedisClient) -> None:
    trainer = Trainer(client, FIRST)
    trainer.publisher.publish(delta(1, {1: 1.0}, full=True))
    client.flushall()
    trainer.publisher.publish(delta(2, {1: 1.0}, full=True))
    with pytest.raises(LeaseError, match="process 11"):
        Trainer(client, SECOND).publisher.publish(delta(1, full=True))


def test_the_lease_of_a_killed_trainer_ends_by_itself(client: RedisClient) -> None:
    Lease(client, "m", FIRST).transaction()
    assert 0 < client.pttl(KEY) <= LIFETIME <= 10_000


def test_a_restart_takes_over_at_once_and_keeps_the_lease_when_the_one_before_ends(client: RedisClient) -> None:
    before, restarted = Lease(client, "m", FIRST), Lease(client, "m", Holder("a", "host-a", 33, "run-c", 5))
    before.transaction()
    with restarted.kept():
        before.release()
        assert b"run-c" in (holder(client) or b"")
    assert holder(client) is None


def test_it_is_renewed_while_nothing_is_published(client: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_RENEW_EVERY", 0.001)
    with Lease(client, "m", FIRST).kept():
        assert client.delete(KEY) == 1
        until(lambda: holder(client) is not None)
    assert holder(client) is None


def test_a_redis_that_is_away_does_not_keep_a_trainer_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Lease(connect(folder=tmp_path), "m", FIRST).kept():
        assert "no lease yet" in caplog.text
