"""What all processes of a server say of themselves, asked of one of them. A server may have but one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, nullcontext

import msgspec

from serving.api.messages.operator_schemas import ReadyResponse
from serving.api.monitoring.prometheus import Metrics
from serving.api.monitoring.server_state import ServerState
from serving.processes.siblings import Siblings

SILENT = "does not answer"


class ProcessState(msgspec.Struct, frozen=True):
    """One server process. Counts are since it started."""

    missing: dict[str, str]
    """By model that an arm needs and that is not loaded, why."""
    redis: bool
    """Whether it answers this process."""
    answers: int
    degraded: dict[str, int]
    """By reason."""
    refused: int
    """Rankings that would have been late."""
    queue: int
    log_waiting: int
    connections: int
    versions: dict[str, str]
    """Of the graphs, by model."""

    @property
    def readiness(self) -> str:
        """In words."""
        return "; ".join(f"{model}: {why}" for model, why in sorted(self.missing.items())) or "ready"


States = dict[int, ProcessState | None]
"""By the number of the process; None for one that does not answer: it starts, hangs or is gone."""


class AllProcesses:
    """The process that `state` and `metrics` are of, and its siblings, if it has any."""

    def __init__(self, state: ServerState, metrics: Metrics, siblings: Siblings | None = None) -> None:
        self._state, self._metrics, self._siblings = state, metrics, siblings

    def showing(self) -> AbstractAsyncContextManager[None]:
        """Within the block the siblings can ask this process."""
        if self._siblings is None:
            return nullcontext()
        return self._siblings.showing({"metrics": self._metrics.render, "state": lambda: _encode(self._own())})

    async def metrics(self) -> bytes:
        """For Prometheus."""
        own = self._metrics.render()
        return own if self._siblings is None else await self._siblings.metrics(own)

    async def states(self) -> States:
        """Of each process, by its number; of the only one as number 0."""
        if self._siblings is None:
            return {0: self._own()}
        found: States = {self._siblings.number: self._own()}
        for number, text in (await self._siblings.ask("state")).items():
            found[number] = None if text is None else _decode(text)
        return dict(sorted(found.items()))

    async def readiness(self) -> ReadyResponse:
        """Ready if all processes that answer are: the others take no requests."""
        own = self._state.readiness()
        if self._siblings is None:
            return own
        states = await self.states()
        missing = {model: why for one in answering(states) for model, why in one.missing.items()}
        words = {str(number): SILENT if one is None else one.readiness for number, one in states.items()}
        return msgspec.structs.replace(own, ready=not missing, missing=missing, processes=words)

    async def degraded(self) -> dict[str, int]:
        """By reason, how often processes that answer have given it."""
        return degraded(await self.states())

    def _own(self) -> ProcessState:
        state = self._state
        return ProcessState(
            dict(state.models.missing),
            state.redis_available(),
            round(self._metrics.answers("/v1/rank", "/v1/recommend")),
            {reason: round(number) for reason, number in self._metrics.degraded().items()},
            state.queue.refused,
            len(state.queue),
            state.events.waiting,
            len(state.connections),
            {name: model.artefact.version for name, model in sorted(state.models.loaded.items())},
        )


def answering(states: States) -> list[ProcessState]:
    """Those that answered."""
    return [one for one in states.values() if one is not None]


def degraded(states: States) -> dict[str, int]:
    """By reason, over all processes.

    >>> one = ProcessState({}, True, 9, {"rows": 2}, 0, 0, 0, 1, {})
    >>> degraded({0: one, 1: None, 2: one})
    {'rows': 4}
    """
    counts: Iterable[dict[str, int]] = (one.degraded for one in answering(states))
    return dict(sum(map(Counter, counts), Counter()))


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ProcessState).decode
