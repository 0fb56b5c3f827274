"""A real server process over a real Redis and a real log, with one of the three killed under traffic."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedding.store import Delta, TableDelta
from serving.replication.embedded_redis import EmbeddedRedis, stop
from serving.replication.keys import ModelKeys
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import to_events
from streaming.log.file_log import FileLog
from tests.serving.fakes import SPEC, artefact, ids, rows
from tests.serving.waiting import ended, until

pytestmark = pytest.mark.slow

ITEMS = ["a", "b", "c"]


@dataclass
class Server:
    process: subprocess.Popen[str]
    http: httpx.Client
    log: Path

    def rank(self, user: str = "u") -> dict[str, Any]:
        response = self.http.post("/v1/rank", json={"user": user, "items": ITEMS})
        assert response.status_code == 200, response.text
        answer = response.json()
        assert isinstance(answer, dict)
        return answer

    def stored(self) -> list[Event]:
        log = FileLog(self.log)
        events: list[Event] = []
        while (chunk := log.read(0, len(events))).events.num_rows:
            events += to_events(chunk.events)
        log.close()
        return events


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "redis"
    stop(tmp_path / "redis")


@pytest.fixture
def options() -> tuple[str, ...]:
    return ()


@pytest.fixture
def server(tmp_path: Path, folder: Path, options: tuple[str, ...]) -> Iterator[Server]:
    command = [sys.executable, "-m", "tests.faults.serve_process", str(folder), str(tmp_path / "log"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, timeout=120) as http:
            publish(folder, {"a": 0.1, "b": 0.4, "c": -0.2})
            until(lambda: http.get("/readyz").status_code == 200)
            yield Server(process, http, tmp_path / "log")
        process.kill()


def publish(folder: Path, scores: dict[str, float], step: int = 1) -> None:
    """All rows, as a trainer does that finds Redis empty."""
    with EmbeddedRedis(folder) as embedded, embedded.client() as client:
        publisher = Publisher(client, "online")
        items, _ = Encoder(SPEC).encode_items(list(scores), [{}] * len(scores))
        change = TableDelta(items["item"].values, rows(*scores.values()), ids())
        publisher.publish(Delta((publisher.sequence() or 0) + 1, True, {"item": change}))
        publisher.publish_artefact(artefact(step=step))


def redis_pid(folder: Path) -> int:
    """0 while it starts."""
    try:
        return int((folder / "redis.pid").read_text() or 0)
    except FileNotFoundError:
        return 0


def shown(answer: dict[str, Any]) -> list[str]:
    return [item["item"] for item in answer["items"]]


@dataclass
class Traffic:
    """Asks without a pause, from a thread, with a new user each time, and keeps what was answered."""

    server: Server
    answers: list[dict[str, Any]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self.answers.append(self.server.rank(f"user {len(self.answers)}"))
        except BaseException as error:
            self.errors.append(error)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: ended(pid))


def test_redis_killed_under_traffic(server: Server, folder: Path) -> None:
    """No request fails; lists without the rows say so; a restarted Redis, filled again, is used again."""
    assert shown(server.rank()) == ["b", "a", "c"]
    with Traffic(server) as traffic:
        until(lambda: len(traffic.answers) > 20)
        killed = redis_pid(folder)
        kill(killed)
        until(lambda: any(answer["degraded"] for answer in traffic.answers))
        until(lambda: redis_pid(folder) not in (0, killed))
        publish(folder, {"a": 0.9, "b": 0.4, "c": -0.2})
        until(lambda: shown(traffic.answers[-1]) == ["a", "b", "c"] and not traffic.answers[-1]["degraded"])
    assert traffic.errors == []
    reasons = {reason for answer in traffic.answers for reason in answer["degraded"]}
    assert reasons <= {"rows", "features"}
    assert "rows" in reasons, "Redis was away, and nobody noticed"


def test_redis_that_hangs_holds_nobody_up(server: Server, folder: Path) -> None:
    assert shown(server.rank()) == ["b", "a", "c"]
    pid = redis_pid(folder)
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = server.rank("somebody new")
        assert answer["degraded"] == ["rows"]
        assert shown(answer) == ["b", "a", "c"], "rows of the items are cached"
        assert server.http.get("/v1/experiments").status_code == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: not server.rank("somebody newer")["degraded"])


def test_a_corrupt_artefact_is_refused_by_name(server: Server, folder: Path) -> None:
    damaged = bytearray(artefact(step=2).to_bytes())
    damaged[-1] ^= 1
    with EmbeddedRedis(folder) as embedded, embedded.client() as client:
        client.set(ModelKeys("online").artefact, bytes(damaged))
        Publisher(client, "online").take_over("step-2")
    until(lambda: "recsys_models_refused 1.0" in server.http.get("/metrics").text)
    assert server.rank()["model"] == "online@step-1"
    publish(folder, {"a": 0.1}, step=3)
    until(lambda: server.rank()["model"] == "online@step-3")


def kill_amid(server: Server, ask: Callable[[httpx.Client], None], enough: Callable[[], bool]) -> None:
    """Kill it while four clients `ask`, each again and again until it is gone, as soon as that was `enough`."""

    def keep_asking() -> None:
        with httpx.Client(base_url=server.http.base_url, timeout=120) as http, suppress(httpx.TransportError):
            while True:
                ask(http)

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(enough)
    server.process.kill()
    for thread in threads:
        thread.join()
    assert server.process.wait(120) == -signal.SIGKILL


def test_a_killed_server_has_stored_what_it_acknowledged(server: Server) -> None:
    acknowledged: list[str] = []

    def post(http: httpx.Client) -> None:
        name = f"{threading.get_ident()}-{len(acknowledged)}"
        event = {"type": "interaction", "time": 5, "impression": "i", "item": "a", "id": name}
        assert http.post("/v1/events", json=event).status_code == 200
        acknowledged.append(name)

    kill_amid(server, post, lambda: len(acknowledged) > 100)
    stored = {event.id for event in server.stored() if isinstance(event, Interaction)}
    assert len(acknowledged) > 100
    assert set(acknowledged) <= stored


def test_impressions_before_an_acknowledged_event_survive_a_kill(server: Server) -> None:
    """Answers do not wait for the log, but they are stored in order: an acknowledged event covers them."""
    answers = [server.rank(f"u{i}")["impression"] for i in range(50)]
    click = {"type": "interaction", "time": 5, "impression": answers[-1], "item": "a", "id": "click"}
    assert server.http.post("/v1/events", json=click).status_code == 200
    server.process.kill()
    assert server.process.wait(120) == -signal.SIGKILL
    stored = server.stored()
    assert [event.id for event in stored if isinstance(event, Impression)] == answers
    assert [event.id for event in stored if isinstance(event, Interaction)] == ["click"]


@pytest.mark.parametrize("options", [(), ("60000", "durable")], ids=["as they come", "durable"])
def test_a_server_killed_between_an_answer_and_its_impression(server: Server, options: tuple[str, ...]) -> None:
    """Durable answers are in the log; of others only those of the last moment are missing, and none is there twice."""
    answers: list[str] = []

    def ask(http: httpx.Client) -> None:
        answer = http.post("/v1/rank", json={"user": f"{len(answers)}", "items": ITEMS}).json()
        assert answer["degraded"] == []
        answers.append(answer["impression"])

    kill_amid(server, ask, lambda: len(answers) > 200)
    stored = [event.id for event in server.stored() if isinstance(event, Impression)]
    assert len(stored) == len(set(stored))
    lost = set(answers) - set(stored)
    assert len(lost) <= (0 if options else len(answers) // 2)
    assert len(answers) > 200


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is read from /proc")
def test_memory_is_flat(server: Server) -> None:
    """Over as many users and items as caches have no room for, in lists that are logged and clicked."""

    def used() -> int:
        pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def ask(first: int, count: int) -> None:
        for number in range(first, first + count):
            items = [f"item {(7 * number + place) % 20_000}" for place in range(20)]
            answer = server.http.post("/v1/rank", json={"user": f"user {number}", "items": items}).json()
            event = {"type": "interaction", "time": number, "impression": answer["impression"], "item": items[0]}
            assert number % 20 or server.http.post("/v1/events", json=event).status_code == 200

    ask(0, 300)
    before = used()
    ask(300, 700)
    assert used() - before < 8 << 20


def test_a_server_that_is_asked_to_end_stores_what_it_answered(server: Server) -> None:
    answers = [server.rank(f"u{i}")["impression"] for i in range(50)]
    server.process.terminate()
    assert server.process.wait(120) == 0
    stored = [event.id for event in server.stored() if isinstance(event, Impression)]
    assert stored == answers
