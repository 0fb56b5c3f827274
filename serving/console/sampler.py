"""Samples of the loop and of the experiments, taken while the server runs, so that plots have a past."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress

from serving.api.messages.operator_schemas import ExperimentsResponse
from serving.api.monitoring.server_state import LatestStatus, ServerState
from serving.console.series import Series

_logger = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between two samples of the loop; 450 of them are fifteen minutes."""
_MOST = 450
_JUDGED_EVERY = 15
"""Samples of the loop between two of the experiments."""
_RATED = 6
"""Statuses over which a rate is measured."""


class Sampler:
    """Keeps `loop` and `experiments`, which are named `figure:model` and `bound:experiment:arm`.

    `degraded` says how often answers were degraded so far, by reason; `results` gives what the experiments show, and
    `compare` says whether there is anything to compare.
    """

    def __init__(
        self,
        state: ServerState,
        degraded: Callable[[], Awaitable[Mapping[str, float]]],
        results: Callable[[], Awaitable[ExperimentsResponse]],
        *,
        compare: bool,
    ) -> None:
        self._state, self._degraded, self._results, self._compare = state, degraded, results, compare
        self.loop = Series(_MOST)
        self.experiments = Series(_MOST, thins=True)
        self._learned: dict[str, deque[tuple[int, float]]] = {}
        self._counted: Mapping[str, float] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Takes samples on this event loop within the block."""
        task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        passed = 0
        while True:
            try:
                self.sample(await self._degraded())
                if self._compare and passed % _JUDGED_EVERY == 0:
                    self.compare(await self._results())
            except Exception as error:  # plots have a gap, and the server goes on
                _logger.warning("the console has no sample: %s", error)
            passed += 1
            await asyncio.sleep(EVERY)

    def sample(self, degraded: Mapping[str, float]) -> None:
        """Look at trainers and server now; `degraded` are answers so far, of processes that may begin anew."""
        before, self._counted = self._counted, degraded
        found = {f"degraded:{name}": max(total - before.get(name, 0.0), 0.0) for name, total in degraded.items()}
        for model, trainer, age in self._state.aged_trainers():
            found |= {f"{name}:{model}": value for name, value in self._of_trainer(model, trainer, age)}
        self.loop.add(self._state.now(), found)

    def compare(self, shown: ExperimentsResponse) -> None:
        """Remember the confidence sequences, unless they are those of the past."""
        if shown.degraded:
            return
        found: dict[str, float] = {}
        for one in shown.experiments:
            for compared in one.comparisons:
                place = f"{one.name}:{compared.arm}"
                if compared.difference is not None:
                    bounds = zip(("low", "high"), compared.interval, strict=True)
                    found |= {f"difference:{place}": compared.difference} | {f"{n}:{place}": v for n, v in bounds}
        self.experiments.add(self._state.now(), found)

    def rate(self, model: str) -> float | None:
        """Rows that a model's trainer learned a second recently; None until it has reported twice."""
        seen = self._learned.get(model)
        if seen is None or len(seen) < 2 or seen[-1][0] <= seen[0][0]:
            return None
        return max(seen[-1][1] - seen[0][1], 0.0) * 1000 / (seen[-1][0] - seen[0][0])

    def _of_trainer(self, model: str, trainer: LatestStatus, age: float) -> Iterator[tuple[str, float]]:
        figures = {".".join(path): value for path, value in trainer.figures()}
        seen = self._learned.setdefault(model, deque(maxlen=_RATED))
        rows = figures.get("rows", 0.0)
        if seen and rows < seen[-1][1]:  # a run that begins anew
            seen.clear()
        if not seen or seen[-1][0] != trainer.published:
            seen.append((trainer.published, rows))
        yield "said", age
        if (rate := self.rate(model)) is not None:
            yield "rate", rate
        if "lag_events" in figures:
            yield "lag", figures["lag_events"]
        for name, value in figures.items():
            if name.startswith("tasks.") and name.endswith((".log_loss", ".calibration")):
                task, _, kind = name.removeprefix("tasks.").rpartition(".")
                yield f"{kind}.{task}", value
        live = [value for name, value in figures.items() if name.startswith("tables.") and name.endswith(".live")]
        if live:
            yield "live", sum(live)
