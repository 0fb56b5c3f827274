"""Trials in several processes of Ray on this machine, each with the parts of the log in its own memory."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from recsys import wiring
from recsys.config.file import parse
from recsys.errors import RecsysError, WorkerError
from recsys.fit.parts import read_parts
from recsys.fit.tuning.trial_fit import Begun, fitted
from recsys.fit.tuning.tune_result import TrialResult
from recsys.workers.ray_job import ray_running

_POLL = 0.5
"""Seconds between two looks at whether to stop."""


class TrialProcess:
    """Fits trials of the configuration `text` in its own process."""

    def __init__(self, text: str, path: str, until: int | None, folder: str) -> None:
        self._config, self._folder = parse(text, Path(path)), Path(folder)
        wiring.set_threads(self._config)
        with closing(wiring.event_log(self._config)) as log:
            self._parts = read_parts(self._config, log, until)

    def fit(self, model: str, number: int, values: dict[str, Any]) -> dict[str, Any]:
        """A `TrialResult`, as plain data."""
        found: dict[str, Any] = msgspec.to_builtins(
            fitted(self._config, self._parts, Begun(model, number, values), self._folder)
        )
        return found


class RayFits:
    """Fits in `processes`, actors that are `TrialProcess`es."""

    def __init__(self, processes: Sequence[Any]) -> None:
        self._processes = processes

    @property
    def at_once(self) -> int:
        return len(self._processes)

    def results(self, begun: Sequence[Begun], stop: threading.Event) -> Iterator[tuple[Begun, TrialResult]]:
        """Raises WorkerError when a process has ended."""
        import ray

        pairs = zip(self._processes, begun, strict=False)
        waiting = {process.fit.remote(one.model, one.number, one.values): one for process, one in pairs}
        while waiting and not stop.is_set():
            for ended in ray.wait(list(waiting), timeout=_POLL)[0]:
                yield waiting.pop(ended), msgspec.convert(_got(ended), TrialResult)


@contextmanager
def ray_fits(path: Path, until: int | None, out: Path, workers: int) -> Iterator[RayFits]:
    """So many processes for the configuration in the file `path` and its log up to `until`; their folders are in `out`.

    What they are fitting when the block ends is given up.
    """
    text, folders = path.read_text("utf-8"), [out.resolve() / f"trial-{number}" for number in range(workers)]
    with ray_running(workers, ""):
        import ray

        made = ray.remote(TrialProcess).options(num_cpus=1)
        try:
            yield RayFits([made.remote(text, str(path.resolve()), until, str(folder)) for folder in folders])
        finally:
            ray.shutdown()
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)


def _got(ended: Any) -> Any:
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(ended)
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, RecsysError) else error from None
    except RayError as error:
        raise WorkerError(f"a process that was fitting has ended: {error}. Run it again to go on from here") from error
