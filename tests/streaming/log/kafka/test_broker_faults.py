"""Brokers that end while events are appended, read and committed: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from deploy.kafka.broker import Broker, new_id
from recsys.commands.demo.ports import free_ports
from recsys.errors import LogError
from streaming.ingest.codec import encode_events, to_events
from streaming.log.kafka.kafka_log import KafkaLog
from tests.serving.waiting import until
from tests.streaming.log.kafka.conftest import Open
from tests.streaming.log.kafka.test_kafka_faults import clicks, times, topic_of

pytestmark = pytest.mark.slow
T = TypeVar("T")


class Busy:
    """Threads that append one click after another, read them, and maybe commit cursors, each on its own connection."""

    def __init__(self, open_kafka: Open, url: str, *, commit: bool) -> None:
        self.log, self._follower, self._committer = open_kafka(url, 1), open_kafka(url), open_kafka(url)
        self._stop = threading.Event()
        self.acknowledged, self.read, self.committed = list[int](), list[int](), list[int]()
        self._at = self.log.begin()[0]
        works = (self._append, self._follow, self._commit) if commit else (self._append, self._follow)
        self._threads = [threading.Thread(target=self._repeat, args=(work,)) for work in works]
        for thread in self._threads:
            thread.start()

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            work()

    def _append(self) -> None:
        number = len(self.acknowledged)
        self.log.append(encode_events(clicks(number)))
        self.acknowledged.append(number)

    def _follow(self) -> None:
        if self._follower.wait((self._at,), 0.1):
            chunk = self._follower.read(0, self._at)
            self.read += [event.time for event in to_events(chunk.events)]
            self._at = chunk.next_offset

    def _commit(self) -> None:
        number = len(self.committed)
        self._committer.commit("trainer", (number,))
        self.committed.append(number)

    def progress(self) -> int:
        """Of the slowest."""
        done = (self.acknowledged, self.read, self.committed)
        return min(len(numbers) for numbers in done[: len(self._threads)])

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Nothing was lost or doubled."""
        assert times(self.log) == self.acknowledged
        assert self.read == self.acknowledged[: len(self.read)]
        if self.committed:
            assert self.log.committed("trainer") == (self.committed[-1],)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM], ids=["hard", "clean"])
def test_a_broker_that_ends_and_comes_back(open_kafka: Open, broker: Broker, url: str, sign: signal.Signals) -> None:
    busy = Busy(open_kafka, f"{url}?timeout=120", commit=True)
    impatient = until(lambda: answered(lambda: open_kafka(f"{url}?timeout=1")))
    try:
        until(lambda: busy.progress() > 20)
        broker.kill(sign)
        assert not broker.listens()
        before = busy.progress()
        with pytest.raises(
            LogError, match=rf"{topic_of(url)} on {broker.address}: looking for the newest events: .*1 s; start"
        ):
            impatient.end()
        broker.start()
        until(lambda: busy.progress() > before + 20, seconds=120)
    finally:
        if not broker.listens():
            broker.start()
        busy.stop()
    busy.check()
    assert until(lambda: answered(lambda: times(impatient))) == busy.acknowledged


def answered(ask: Callable[[], T]) -> T | None:
    """What was asked for, unless a busy machine took longer than the log waits."""
    try:
        return ask()
    except LogError:
        return None


@contextmanager
def three_brokers(folder: Path) -> Iterator[dict[int, Broker]]:
    """A cluster by node id; a record is acknowledged when two of its three copies are stored."""
    found = free_ports(6)
    ports = {node: (found.pop(), found.pop()) for node in (1, 2, 3)}
    voters = ",".join(f"{node}@127.0.0.1:{controller}" for node, (_, controller) in ports.items())
    cluster, brokers = new_id(), {}
    for node, (port, controller) in ports.items():
        settings = {
            "node.id": str(node),
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "min.insync.replicas": "2",
            "offsets.topic.replication.factor": "3",
            "transaction.state.log.replication.factor": "3",
        }
        brokers[node] = Broker(folder / str(node), port, settings, cluster)
    try:
        for broker in brokers.values():
            broker.launch()
        for broker in brokers.values():
            broker.await_start()
        yield brokers
    finally:
        for broker in brokers.values():
            broker.kill()


def leader(log: KafkaLog) -> int:
    """The node id of the broker that leads partition 0; -1 while there is none."""
    found = log._connection.topic(log.address.topic)
    assert found is not None
    return int(found["partitions"][0]["leader_id"])


@pytest.mark.usefixtures("broker")  # which says what to install
def test_of_three_brokers_the_leader_is_lost(open_kafka: Open, tmp_path: Path) -> None:
    with three_brokers(tmp_path) as brokers:
        servers = ",".join(broker.address for broker in brokers.values())
        url = f"kafka://{servers}/clicks?replication=3&timeout=120"
        busy = Busy(open_kafka, url, commit=False)
        try:
            until(lambda: busy.progress() > 20, seconds=120)
            lost = leader(busy.log)
            brokers[lost].kill()
            assert not brokers[lost].listens()
            before = busy.progress()
            until(lambda: busy.progress() > before + 20, seconds=120)
        finally:
            busy.stop()
        assert leader(busy.log) in brokers.keys() - {lost}
        busy.check()


def test_ingest_is_killed_and_started_again(tmp_path: Path, open_kafka: Open, url: str) -> None:
    """With a window of duplicates far smaller than the file, so that what is remembered of the file matters."""
    count = 150_000
    rows = ({"type": "interaction", "time": i, "impression": f"r{i}", "item": "a"} for i in range(count))
    (tmp_path / "clicks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recsys.toml").write_text(f'[log]\nurl = "{url}"\ndeduplication_window = 20_000\n')
    command = [sys.executable, "-m", "recsys", "ingest", "-c", str(tmp_path / "recsys.toml")]
    log = open_kafka(url, 1)
    for _ in range(2):
        (end,) = log.end()
        process = subprocess.Popen([*command, str(tmp_path / "clicks.jsonl")], stdout=subprocess.PIPE)
        until(lambda end=end: log.end()[0] > end, seconds=120)  # type: ignore[misc]
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert 0 < len(times(log)) < count
    subprocess.run([*command, str(tmp_path / "clicks.jsonl")], check=True, capture_output=True)
    assert times(log) == list(range(count))
