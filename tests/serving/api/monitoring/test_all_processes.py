"""What one of several processes says of all: of what each knows, and of those that say nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from serving.api.messages.operator_schemas import ReadyResponse
from serving.api.monitoring.all_processes import AllProcesses, ProcessState, States
from serving.api.monitoring.prometheus import Metrics
from serving.api.monitoring.server_state import ServerState
from serving.processes.siblings import Siblings

OTHER = ProcessState({"b": "torn"}, True, 5, {"rows": 2}, 1, 1, 0, 7, {"a": "step-2"})


def process(siblings: Siblings | None = None, **missing: str) -> AllProcesses:
    """One that has answered three requests, and lacks these models."""
    loaded = {"a": SimpleNamespace(artefact=SimpleNamespace(version="step-1"))}
    state = SimpleNamespace(
        models=SimpleNamespace(missing=missing, loaded=loaded),
        redis_available=lambda: True,
        queue=Queue(),
        events=SimpleNamespace(waiting=0),
        connections=[],
        readiness=lambda: ReadyResponse(not missing, missing, {}),
    )
    metrics = SimpleNamespace(answers=lambda *_: 3.0, degraded=lambda: {"rows": 1.0, "log": 1.0}, render=lambda: b"")
    return AllProcesses(cast(ServerState, state), cast(Metrics, metrics), siblings)


class Queue(list[Any]):
    refused = 2


def test_one_process_is_all() -> None:
    async def asked() -> tuple[ReadyResponse, States]:
        alone = process()
        async with alone.showing():
            return await alone.readiness(), await alone.states()

    ready, states = asyncio.run(asked())
    assert (ready.ready, ready.processes) == (True, {})
    assert states == {0: ProcessState({}, True, 3, {"rows": 1, "log": 1}, 2, 0, 0, 0, {"a": "step-1"})}


def test_all_that_answer_must_be_ready_and_counts_add_up(tmp_path: Path) -> None:
    first, second = Siblings(0, 3, tmp_path), Siblings(1, 3, tmp_path)

    async def asked() -> tuple[ReadyResponse, States, dict[str, int]]:
        mine = process(second)
        answers = {"state": lambda: msgspec.json.encode(OTHER)}
        async with first.showing(answers), mine.showing():
            return await mine.readiness(), await mine.states(), await mine.degraded()

    ready, states, degraded = asyncio.run(asked())
    assert (ready.ready, ready.missing) == (False, {"b": "torn"})
    assert ready.processes == {"0": "b: torn", "1": "ready", "2": "does not answer"}
    assert [*states] == [0, 1, 2]
    assert states[0] == OTHER
    assert states[2] is None
    assert degraded == {"rows": 3, "log": 1}


def test_one_that_does_not_answer_takes_no_requests_and_keeps_none_from_being_ready(tmp_path: Path) -> None:
    ready = asyncio.run(process(Siblings(1, 2, tmp_path)).readiness())
    assert (ready.ready, ready.processes) == (True, {"0": "does not answer", "1": "ready"})
