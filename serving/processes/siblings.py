"""What one of several server processes knows of the others: the port that they share, and what they say."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

_logger = logging.getLogger(__name__)
_PATIENCE = 0.5
"""Seconds that a sibling has for its answer: those who ask whether the server is ready may wait for one themselves."""
_OF_ALL = ("recsys_trainer", "recsys_champion", "target")
"""What the names of metrics begin with that are the same in every process: they are shown once."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """Process `number` of `count`, from 0; each has a socket for the others in `folder`, which is theirs alone."""

    number: int
    count: int
    folder: Path

    def listener(self, host: str, port: int) -> socket.socket:
        """A socket bound to the port that they share (SO_REUSEPORT); the kernel spreads new connections over them."""
        return shared_port(host, port)

    @asynccontextmanager
    async def showing(self, answers: Mapping[str, Callable[[], bytes]]) -> AsyncIterator[None]:
        """Within the block the others can ask for these by name; `metrics` is text for Prometheus."""
        place = self._place(self.number)
        place.unlink(missing_ok=True)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                with suppress(ConnectionError):  # who asked has given up
                    what = (await reader.readline()).decode()
                    if what:
                        writer.write(answers[what.strip()]())
                        await writer.drain()
            finally:
                writer.close()

        server = await asyncio.start_unix_server(answer, place)
        try:
            yield
        finally:
            server.close()
            place.unlink(missing_ok=True)

    async def metrics(self, own: bytes) -> bytes:
        """Those of all processes that answer, labelled with their `process`; what is the same in all is there once."""
        others = await self.ask("metrics")
        texts = {self.number: own} | {number: text for number, text in others.items() if text is not None}
        return merged(texts, self.number)

    async def ask(self, what: str) -> dict[int, bytes | None]:
        """What each other process answers, by its number; None if it does not."""
        others = [number for number in range(self.count) if number != self.number]
        return dict(zip(others, await asyncio.gather(*(self._ask(number, what) for number in others)), strict=True))

    async def _ask(self, number: int, what: str) -> bytes | None:
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_unix_connection(self._place(number))
                try:
                    writer.write(f"{what}\n".encode())
                    return await reader.read() or None
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            _logger.info("the %s of process %d is missing: %s", what, number, error or "no answer in time")
            return None

    def _place(self, number: int) -> Path:
        return self.folder / f"{number}.sock"


def shared_port(host: str, port: int) -> socket.socket:
    """A socket bound to a port that other processes of this user may bind, too. Raises OSError."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((socket.gethostbyname(host), port))
    except BaseException:
        bound.close()
        raise
    return bound


def merged(texts: dict[int, bytes], own: int) -> bytes:
    """One text for Prometheus of those of several processes, by number.

    Every sample has the label `process`, so that sums are right and a process that is started anew is a counter that is
    reset. What is the same in all is taken of `own`, without the label.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([*_families(texts, own)]))
    return generate_latest(registry)


class _Families:
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def _families(texts: dict[int, bytes], own: int) -> Iterator[Metric]:
    by_name: dict[str, Metric] = {}
    for number, text in sorted(texts.items()):
        for family in text_string_to_metric_families(text.decode()):
            shared = family.name.startswith(_OF_ALL)
            if shared and number != own:
                continue
            known = by_name.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            label = {} if shared else {"process": str(number)}
            for one in family.samples:
                known.add_sample(one.name, label | one.labels, one.value)
    yield from by_name.values()
    yield GaugeMetricFamily("recsys_processes", "Server processes whose metrics are here.", len(texts))
