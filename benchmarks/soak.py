"""Ten minutes at 70 % of what a server can do: how late answers are, what fails, and whether its memory stays flat.

What one core can do is measured first, by two clients that always wait for an answer. Requests then come by a Poisson
process at 70 % of that rate, whether those before are answered or not, and a time runs from the moment at which its
request was due, so that a server that stands still is seen to (Tene's coordinated omission). One in ten lists is
clicked. What is served: `benchmarks/_served.py`.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from queue import SimpleQueue

import msgspec
import numpy as np
import psutil

from benchmarks._served import WARM_UP, bodies, first_core, published, server, wait_until_ready
from benchmarks.harness import Result, Target, median

SHARE = 0.7
DEADLINE = 200.0
"""Milliseconds, as configured by default."""
CLICKED = 0.1
_CLIENTS = 32
_IDLE = 4.0
"""Seconds after which a client connects anew: the server closes a connection that was idle for five."""
_SAMPLES = 20
_HEADERS = {"Content-Type": "application/json"}


@dataclass
class Seen:
    """What clients got; `milliseconds` are of answers with 200."""

    statuses: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    by_model: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, status: int, content: bytes, milliseconds: float) -> None:
        with self.lock:
            self.statuses[str(status)] += 1
            if status == 200:
                self.milliseconds.append(milliseconds)
                self.by_model += b'"degraded":[]' in content


def run(quick: bool) -> Result:
    seconds, measured = (15.0, 3.0) if quick else (600.0, 30.0)
    rng = np.random.default_rng(0)
    core = first_core()
    with published(rng) as folder, server(core, folder / "redis", folder / "log") as (process, port):
        pool = list(bodies(rng, 64 if quick else 2_000))
        _asked_in_turn(port, pool, WARM_UP)
        capacity = _capacity(port, pool, measured)
        seen, memory = _steady(process, port, pool, SHARE * capacity, seconds, rng)
    p50, p99 = np.percentile(seen.milliseconds, [50, 99])
    sent = sum(seen.statuses.values())
    failed = sent - seen.statuses["200"] - seen.statuses["429"]
    grown = median(memory[-3:]) / median(memory[:3])
    targets = [
        Target("answers that are errors", float(failed), 0.0, "lower"),
        Target("answers by the model, of those admitted", seen.by_model / max(seen.statuses["200"], 1), 0.95),
        Target("p99 ms from when a request was due, over the deadline", float(p99) / DEADLINE, 1.0, "lower"),
        Target("memory at the end over that at the begin", grown, 1.05, "lower"),
    ]
    raw = {
        "seconds": seconds,
        "capacity_per_second": capacity,
        "sent_per_second": sent / seconds,
        "statuses": dict(seen.statuses),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "rss_mib": [round(one / (1 << 20), 1) for one in memory],
    }
    return Result("soak", targets, raw)


def _asked_in_turn(port: int, pool: list[bytes], requests: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    wait_until_ready(connection)
    for number in range(requests):
        _post(connection, "/v1/rank", pool[number % len(pool)])
    connection.close()


def _capacity(port: int, pool: list[bytes], seconds: float) -> float:
    """Answers a second to two clients, so that the server never waits for one."""
    end, answered = time.monotonic() + seconds, [0, 0]

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.monotonic() < end:
            _post(connection, "/v1/rank", pool[(answered[client] * 2 + client) % len(pool)])
            answered[client] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(client,)) for client in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered) / seconds


def _steady(
    process: psutil.Process, port: int, pool: list[bytes], rate: float, seconds: float, rng: np.random.Generator
) -> tuple[Seen, list[float]]:
    """What was seen at this rate, and the server's memory in bytes, at even distances."""
    seen, due = Seen(), SimpleQueue[float | None]()
    threads = [threading.Thread(target=_client, args=(port, pool, due, seen, number)) for number in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    begin = now = time.monotonic()
    memory: list[float] = []
    while (now := now + float(rng.exponential(1 / rate))) < begin + seconds:
        time.sleep(max(now - time.monotonic(), 0.0))
        due.put(now)
        if now - begin >= len(memory) * seconds / _SAMPLES:
            memory.append(process.memory_info().rss)
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    return seen, [*memory, process.memory_info().rss]


def _client(port: int, pool: list[bytes], due: SimpleQueue[float | None], seen: Seen, seed: int) -> None:
    connection, rng = http.client.HTTPConnection("127.0.0.1", port), np.random.default_rng(seed)
    used = time.monotonic()
    while (at := due.get()) is not None:
        if time.monotonic() - used > _IDLE:
            connection.close()
        status, content = _post(connection, "/v1/rank", pool[rng.integers(len(pool))])
        seen.answered(status, content, 1000 * (time.monotonic() - at))
        if status == 200 and rng.random() < CLICKED:
            said = _post(connection, "/v1/events", _click(content))[0]
            if said != 200:
                seen.answered(said, b"", 0.0)
        used = time.monotonic()
    connection.close()


def _click(content: bytes) -> bytes:
    """On the first item of an answer."""
    answer = msgspec.json.decode(content)
    event = {"type": "interaction", "time": time.time_ns() // 1_000_000, "impression": answer["impression"]}
    return msgspec.json.encode(event | {"item": answer["items"][0]["item"], "action": "click"})


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    """Its status, 0 where the server gave none, and its content."""
    try:
        connection.request("POST", path, body, _HEADERS)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0, b""
