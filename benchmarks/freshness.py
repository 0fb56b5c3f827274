"""From a posted click to a changed score, through Kafka (before 28 November 2026: a log in files), under load.

Broker, server and trainer are processes as in production; this one fills the log at a steady rate. A probe
ranks two items that nobody has seen, whose scores are equal, clicks one, and ranks again until the scores differ: only
the clicked item's own row can cause that, whatever else the model learns meanwhile. Another probe posts an item that is
new, and asks for recommendations until it is one of the candidates. Ranker and two-tower model learn side by side.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from benchmarks._waiting import ready, until
from benchmarks.harness import Result, Target
from deploy.kafka.broker import Broker
from recsys import wiring
from recsys.commands.demo.ports import free_port
from recsys.config.file import load
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events

ROWS_PER_SECOND = 2000
"""Load on the trainer besides the probes."""
ITEMS = 10
PERIOD = 0.1
"""Seconds between two appends of the load."""
TIMEOUT = 20.0
READY = 300.0
"""Seconds for both processes to start and the model to be traced."""
SETTINGS = """
[log]
url = "kafka://{broker}/events"
[retrieval]
two_tower = true
[training]
wait = "10s"
lateness = "1s"
[serving]
port = {port}
shares = {{ two_tower = 0.5, recent = 0.5 }}
"""


def run(quick: bool) -> Result:
    probes = 30 if quick else 200
    with tempfile.TemporaryDirectory() as folder, _broker(Path(folder) / "kafka") as broker:
        path = Path(folder) / "recsys.toml"
        port = free_port()
        path.write_text(SETTINGS.format(port=port, broker=broker.address))
        with _recsys("serve", path), _recsys("train", path), _Load(path) as load_:
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
            until(lambda: ready(client), "a server that is ready", READY)
            until(lambda: _caught_up(client), "a trainer that has caught up with the load", READY)
            seconds = [_probe(client, number) for number in range(probes)]
            found = [_new_item(client, number) for number in range(probes)]
            learned = load_.rows
    p50, p99 = np.percentile(seconds, [50, 99])
    new_p50, new_p99 = np.percentile([one for one, _ in found], [50, 99])
    targets = [
        Target("p50 seconds from click to changed score", float(p50), 0.5, "lower"),
        Target("p99 seconds from click to changed score", float(p99), 1.0, "lower"),
        Target("p50 seconds from a new item's event to its place among candidates", float(new_p50), 1.0, "lower"),
        Target("p99 seconds from a new item's event to its place among candidates", float(new_p99), 3.0, "lower"),
    ]
    raw = {
        "seconds": seconds,
        "new_item_seconds": [one for one, _ in found],
        "new_item_sources": dict(Counter(source for _, source in found)),
    }
    return Result("freshness", targets, raw | {"load_rows_per_s": ROWS_PER_SECOND, "load_rows": learned})


def _caught_up(client: httpx.Client) -> bool:
    """Whether less of the log is unread than comes in a second."""
    (trainer,) = client.get("/readyz").raise_for_status().json()["trainer"].values()
    return bool(trainer["status"].get("lag_events", ROWS_PER_SECOND) < ROWS_PER_SECOND * 2 / ITEMS)


def _probe(client: httpx.Client, number: int) -> float:
    items = [f"probe-{number}-clicked", f"probe-{number}-ignored"]
    question: dict[str, object] = {"user": f"prober-{number}", "items": items}
    before = _scores(client, question)
    if before[1][items[0]] != before[1][items[1]]:
        raise ValueError(f"two unseen items score differently: {before}")
    click = {"type": "interaction", "time": _now(), "impression": before[0], "item": items[0]}
    started = time.perf_counter()
    client.post("/v1/events", json=click).raise_for_status()
    while time.perf_counter() - started < TIMEOUT:
        _, scores = _scores(client, question)
        if scores[items[0]] != scores[items[1]]:
            return time.perf_counter() - started
        time.sleep(0.01)
    raise TimeoutError(f"probe {number}: no changed score within {TIMEOUT} s")


def _new_item(client: httpx.Client, number: int) -> tuple[float, str]:
    """Seconds until an item is a candidate, and the source that found it first."""
    item, question = f"new-{number}", {"user": f"prober-{number}", "count": 200}
    started = time.perf_counter()
    client.post("/v1/events", json={"type": "item", "time": _now(), "item": item}).raise_for_status()
    while time.perf_counter() - started < TIMEOUT:
        answer = client.post("/v1/recommend", json=question).raise_for_status().json()
        sources = {one["item"]: one["source"] for one in answer["items"]}
        if item in sources:
            return time.perf_counter() - started, sources[item]
        time.sleep(0.01)
    raise TimeoutError(f"new item {number}: not recommended within {TIMEOUT} s")


def _scores(client: httpx.Client, question: dict[str, object]) -> tuple[str, dict[str, float]]:
    answer = client.post("/v1/rank", json=question).raise_for_status().json()
    return answer["impression"], {item["item"]: item["score"] for item in answer["items"]}


class _Load:
    """Appends impressions of ten items, a tenth of them clicked, at ROWS_PER_SECOND."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._log = wiring.event_log(load(path))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Load:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._log.close()

    def _run(self) -> None:
        rng = np.random.default_rng(0)
        due = time.monotonic()
        while not self._stop.is_set():
            self._log.append(encode_events(self._events(rng, int(ROWS_PER_SECOND * PERIOD / ITEMS))))
            due += PERIOD
            self._stop.wait(max(due - time.monotonic(), 0))

    def _events(self, rng: np.random.Generator, impressions: int) -> list[Event]:
        events: list[Event] = []
        for _ in range(impressions):
            name = f"load-{self.rows}"
            items = [f"item-{n}" for n in rng.choice(5000, ITEMS, replace=False)]
            events.append(Impression(id=name, time=_now(), user=f"user-{rng.integers(20_000)}", items=items))
            events.append(Interaction(time=_now(), impression=name, item=items[0]))
            self.rows += ITEMS
        return events


@contextmanager
def _broker(folder: Path) -> Iterator[Broker]:
    broker = Broker(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@contextmanager
def _recsys(command: str, path: Path) -> Iterator[None]:
    log = path.with_name(f"{command}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "recsys", command, "-c", str(path)], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError(f"recsys {command} ended with {process.returncode}: {log.read_text()[-2000:]}")
        finally:
            process.terminate()
            process.wait(timeout=60)


def _now() -> int:
    return time.time_ns() // 1_000_000
