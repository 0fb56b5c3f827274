"""What server processes know of each other: one text of all their metrics, and what each may take."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recsys.errors import InvalidValueError
from serving.api_key import new_key
from serving.processes.siblings import Siblings, merged
from serving.processes.supervisor import Supervisor
from serving.settings import ServingSettings

TEXT = """# HELP recsys_requests_total Requests by route and status.
# TYPE recsys_requests_total counter
recsys_requests_total{{route="/v1/rank"}} {requests}
# HELP recsys_connections Open connections of clients.
# TYPE recsys_connections gauge
recsys_connections {requests}
# HELP recsys_trainer Progress of the trainer.
# TYPE recsys_trainer gauge
recsys_trainer{{model="online",name="step"}} {step}
# HELP target_info Target metadata
# TYPE target_info gauge
target_info{{project="shop"}} 1.0
"""


def text(requests: int, step: int = 7) -> bytes:
    return TEXT.format(requests=requests, step=step).encode()


def samples(found: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(found.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_samples_say_whose_they_are_and_what_is_the_same_in_all_is_there_once() -> None:
    found = samples(merged({1: text(5, step=8), 0: text(3, step=7)}, own=1))
    assert found == {
        ("recsys_requests_total", (("process", "0"), ("route", "/v1/rank"))): 3,
        ("recsys_requests_total", (("process", "1"), ("route", "/v1/rank"))): 5,
        ("recsys_connections", (("process", "0"),)): 3,
        ("recsys_connections", (("process", "1"),)): 5,
        ("recsys_trainer", (("model", "online"), ("name", "step"))): 8,
        ("target_info", (("project", "shop"),)): 1,
        ("recsys_processes", ()): 2,
    }


def test_the_metrics_of_others_are_read_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    first, second, third = (Siblings(number, 3, tmp_path) for number in range(3))

    async def asked() -> bytes:
        async with first.showing({"metrics": lambda: text(3)}), second.showing({"metrics": lambda: text(5)}):
            return await first.metrics(text(3))

    found = samples(asyncio.run(asked()))
    assert found["recsys_processes", ()] == 2
    assert found["recsys_connections", (("process", "1"),)] == 5
    assert ("recsys_connections", (("process", "2"),)) not in found
    assert not list(tmp_path.iterdir())
    assert third.number == 2


def test_one_that_does_not_answer_or_does_not_know_is_waited_for_a_moment(tmp_path: Path) -> None:
    first, second, third = (Siblings(number, 3, tmp_path) for number in range(3))

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the other one gives up
        writer.close()

    async def asked() -> dict[int, bytes | None]:
        async with second.showing({"state": lambda: b"well"}):
            silent = await asyncio.start_unix_server(silence, tmp_path / "2.sock")
            async with silent:
                return await first.ask("state")

    assert third.number == 2
    assert asyncio.run(asked()) == {1: b"well", 2: None}


def test_who_gives_up_leaves_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Before it asked, or while the answer is made, which a loaded machine does not send in time."""
    first = Siblings(0, 2, tmp_path)
    asked: list[asyncio.StreamWriter] = []

    def slow() -> bytes:
        asked[0].transport.abort()
        return bytes(1 << 24)  # more than the socket takes

    async def given_up() -> None:
        async with first.showing({"state": slow}):
            _, early = await asyncio.open_unix_connection(tmp_path / "0.sock")
            early.close()
            await early.wait_closed()
            reader, writer = await asyncio.open_unix_connection(tmp_path / "0.sock")
            asked.append(writer)
            writer.write(b"state\n")
            with suppress(ConnectionError):
                await reader.read()
            while len(asyncio.all_tasks()) > 1:  # those that answer
                await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=1)

    asyncio.run(given_up())
    assert asked
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_each_takes_its_share() -> None:
    settings = ServingSettings(
        cache_rows=1000, max_connections=9, api_keys=[new_key("a", ["rank"], rate=3.0)[1], new_key("b", ["rank"])[1]]
    )
    shared = settings.shared(2)
    assert (shared.cache_rows, shared.max_connections) == (500, 4)
    assert [key.rate for key in shared.api_keys] == [1.5, None]
    assert replace(shared, cache_rows=1000, max_connections=9, api_keys=settings.api_keys) == settings


def test_a_port_that_is_in_use_is_refused() -> None:
    with Siblings(0, 2, Path()).listener("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(InvalidValueError, match="choose another port"):
            Supervisor(never, 2, "127.0.0.1", taken.getsockname()[1]).run(lambda _: None)


def never(*_: object) -> None:
    raise AssertionError("it was started")


def broken(*_: object) -> None:
    raise SystemExit(3)


def test_a_process_that_cannot_begin_ends_all() -> None:
    with pytest.raises(InvalidValueError, match="a server process ended with status 3"):
        Supervisor(broken, 2, "127.0.0.1", 0).run(lambda _: pytest.fail("it was never ready"))
