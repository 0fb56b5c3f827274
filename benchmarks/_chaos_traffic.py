"""Traffic while processes are killed: a producer that appends to the log, and users of the server who click.

Both say again what was not acknowledged, as they must: an event has an id, and the log and the joiner know it again.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from math import inf

import httpx
import numpy as np
import pyarrow as pa

from benchmarks._event_hashes import Hashes, hashes
from benchmarks._globo_shaped import EXPONENT, Visits
from benchmarks._supervised import Supervised
from benchmarks._waiting import until
from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import LogError
from streaming.events.schema import Impression
from streaming.ingest.codec import encode_events
from streaming.join.tables.event_columns import EventColumns
from streaming.log.partitioning import split

ITEMS, USERS = 1000, 2000
"""Of which users ask for rankings: the articles that are read most."""
RANKED = 10
"""Items that a user asks to have ranked."""
RATE = 0.3
"""Share of rankings of which an item is clicked."""
LAST = "last-"
"""Begins the ids of the lists that end the windows of all others."""
HOUR = 3_600_000
_PAUSE = 0.1
_NOTICED = 5.0
"""Seconds after which the end of a process must be known."""
_MOST = 10_000
"""Visits that are appended at once."""


def now() -> int:
    return time.time_ns() // 1_000_000


def items(rng: np.random.Generator, lists: int, size: int) -> list[list[str]]:
    """Lists of different items, popular ones more often."""
    noise = rng.gumbel(size=(lists, ITEMS)) - EXPONENT * np.log(np.arange(1, ITEMS + 1))
    return [[f"item-{n}" for n in chosen] for chosen in np.argpartition(-noise, size)[:, :size].tolist()]


class Traffic(ABC):
    """Does `turn` again and again in a thread while the block runs; its errors are raised at the end."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.stops = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    @abstractmethod
    def turn(self) -> None: ...

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self.stops.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    @abstractmethod
    def close(self) -> None:
        """Give its connections back, after the block."""

    def _run(self) -> None:
        try:
            while not self.stops.is_set():
                self.turn()
        except BaseException as error:
            self._error = error


class Producer(Traffic):
    """Appends visits at a rate of events a second, until there are `events`, or without an end.

    What a broker that was away has kept from being appended follows when it is back.
    """

    def __init__(self, config: Config, rate: float, events: int | None = None) -> None:
        super().__init__(seed=1)
        self._log = wiring.event_log(config)
        self._visits, self._rate, self._left = Visits(seed=1), rate / 2, (events or inf) / 2
        self._begun, self._made = time.monotonic(), 0
        self.done = threading.Event()
        """When all are in the log."""
        self.acknowledged: list[Hashes] = []
        """Of the ids of impressions that the log has."""
        self.refusals = 0
        """Appends that failed and were done again."""

    def turn(self) -> None:
        self.stops.wait(_PAUSE)
        due = (time.monotonic() - self._begun) * self._rate - self._made
        if visits := int(min(max(due, 1), _MOST, self._left)):
            events = self._visits.take(visits, now())
            while not self._appended(events):
                self.refusals += 1
            self._made, self._left = self._made + visits, self._left - visits
            self.acknowledged.append(hashes(EventColumns.of(events).id)[::2])
        if not self._left:
            self.done.set()

    def close(self) -> None:
        self._log.close()

    def end_windows(self) -> None:
        """Append a list a partition so late in event time that all windows of the others are over."""
        for partition in range(self._log.partitions):
            last = Impression(id=f"{LAST}{partition}", time=now() + HOUR, user="nobody", items=["nothing"])
            self._log.append(encode_events([last]), partition)

    def _appended(self, events: pa.RecordBatch) -> bool:
        try:
            for partition, part in split(events, self._log.partitions):
                self._log.append(part, partition)
        except LogError:
            return False
        return True


class Users(Traffic):
    """Ask the server for rankings and click, one after the other without a pause longer than 20 ms."""

    def __init__(self, url: str, server: Supervised) -> None:
        super().__init__(seed=2)
        self._http = httpx.Client(base_url=url, timeout=60)
        self._server = server
        self.answers = self.degraded = self.errors = self.unanswered = self.retries = 0
        """Rankings; those not the model's; answers with 5xx to a request for a ranking; requests that a living server
        did not answer; events sent again."""
        self.acknowledged: set[tuple[str, str]] = set()
        """Impression and item of clicks that the server has taken."""
        self._ranked = "", ""

    def turn(self) -> None:
        [shown] = items(self.rng, 1, RANKED)
        answer = self._post("/v1/rank", {"user": f"user-{self.rng.integers(USERS)}", "items": shown})
        if answer is None:
            return
        self.answers += 1
        if answer.is_server_error:
            self.errors += 1
            return
        ranked = answer.raise_for_status().json()
        self.degraded += bool(ranked["degraded"])
        self._ranked = ranked["impression"], ranked["items"][0]["item"]
        if self.rng.random() < RATE:
            self._send(self._click("click"))
        self.stops.wait(0.02)

    def close(self) -> None:
        self._http.close()

    def settle(self) -> None:
        """Returns when all impressions that were answered are in the log, as a click says that is acknowledged."""
        click = self._click("last")
        until(lambda: self._acknowledged(click), "a click that is acknowledged")

    def _click(self, name: str) -> dict[str, object]:
        """On the first item that was ranked last."""
        impression, item = self._ranked
        click = {"type": "interaction", "time": now(), "impression": impression, "item": item}
        return click | {"id": f"{impression}-{name}"}

    def _send(self, click: dict[str, object]) -> None:
        """Until it is acknowledged, always the same: the log refuses another event of the same id."""
        while not self._acknowledged(click):
            self.retries += 1
            if self.stops.wait(0.2):
                return

    def _acknowledged(self, click: dict[str, object]) -> bool:
        answer = self._post("/v1/events", click)
        if answer is None or answer.is_server_error:
            return False
        answer.raise_for_status()
        self.acknowledged.add(self._ranked)
        return True

    def _post(self, path: str, body: dict[str, object]) -> httpx.Response | None:
        """The answer; None from a server that is not there."""
        ends = len(self._server.ends)
        try:
            return self._http.post(path, json=body)
        except httpx.TransportError:
            if not self._ended_since(ends):
                self.unanswered += 1
            self._await_server()
            return None

    def _ended_since(self, ends: int) -> bool:
        deadline = time.monotonic() + _NOTICED
        while len(self._server.ends) == ends and time.monotonic() < deadline:
            self.stops.wait(0.05)
        return len(self._server.ends) > ends

    def _await_server(self) -> None:
        """Until it takes requests, which a process does that has announced itself."""
        while not self.stops.is_set():
            try:
                self._http.get("/healthz")
                return
            except httpx.TransportError:
                time.sleep(0.05)
