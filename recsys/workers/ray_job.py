"""A job in several processes under Ray, which starts them anew when one dies.

Ray's group of workers forms a process group of PyTorch (gloo), in which rank 0 leads. Ray listens on loopback only,
unless it is given the address of a running cluster.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.errors import WorkerError
from recsys.workers.board import Board

_STORE_BYTES = 80 << 20
"""Ray's shared memory; what the workers exchange does not go through it."""
_ROOM = "10"
"""Seconds until Ray, which has just lost a machine and does not know it yet, looks again for how many there is room."""
ROOM_EVERY = 60.0
"""Seconds between two looks of fewer workers than asked for at whether there is room for more."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # seconds until the death of a worker is noticed
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_ON_THIS_MACHINE = {
    "RAY_worker_niceness": "0",  # else 15: whatever else runs here would starve workers, and Serve's proxy and replicas
    "RAY_memory_monitor_refresh_ms": "0",  # otherwise Ray kills workers when whoever else is here takes the memory
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's processes then listen on loopback only, on every system
    "GLOO_SOCKET_IFNAME": "lo",
}

Job = Callable[["Seat", dict[str, Any]], None]
"""What each process runs: a function of a module, so that it can be found in other processes."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's place in the group, and the board that it shares with the others and the process that started it."""

    rank: int
    size: int
    board: Any
    """An actor's handle with the methods of `Board`."""

    def tell(self, method: str, *arguments: Any) -> Any:
        """Call a method of the board. Raises WorkerError when it is gone, as Ray's own processes may be."""
        import ray
        from ray.exceptions import RayError

        try:
            return ray.get(getattr(self.board, method).remote(*arguments))
        except RayError as error:
            raise WorkerError(
                f"Ray has lost the process that the workers report to: {_first_line(error)}. Start again: training "
                "goes on from the newest checkpoint"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


@contextmanager
def ray_running(workers: int, address: str, **environment: str) -> Iterator[None]:
    """Ray with room for `workers` processes: the cluster at `address`, or this machine alone.

    `environment` is for Ray, where the user has not set it.
    """
    for name, value in (environment | _ENVIRONMENT | ({} if address else _ON_THIS_MACHINE)).items():
        os.environ.setdefault(name, value)
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": False}
    if address:
        options |= {"address": address}
    else:
        options |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
        options |= {"object_store_memory": _STORE_BYTES, "_node_ip_address": "127.0.0.1"}
    try:
        _begin(options, address)
        yield
    finally:
        ray.shutdown()


def _begin(options: dict[str, Any], address: str) -> None:
    import ray

    try:
        ray.init(**options)
    except Exception as error:  # Ray raises plain ones, too, such as where a busy machine is too slow for it
        where = f"the cluster at [training] ray = {address!r}" if address else "Ray"
        raise WorkerError(f"{where} cannot be reached: {error}") from error


class RunningJob:
    """`job` in `workers` processes, until all have ended, from now on. Needs `ray_running`.

    With `fewest` above 0 it is in as many processes as Ray has room for, from `fewest` to `workers`: all end and are
    started anew, in another number, when that changes (Ray's elastic policy).
    """

    def __init__(self, job: Job, arguments: dict[str, Any], workers: int, folder: Path, fewest: int = 0) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = ray.get_runtime_context().get_node_id()  # not where a worker's machine may be lost
        near = NodeAffinitySchedulingStrategy(here, soft=False)
        self._board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=near).remote()
        self.seat = Seat(-1, workers, self._board)
        self._scaling: dict[str, Any] = {"num_workers": workers, "resources_per_worker": {"CPU": 1}}
        if fewest:
            self._scaling |= {"num_workers": (fewest, workers), "elastic_resize_monitor_interval_s": ROOM_EVERY}
            os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", _ROOM)
        self._failure: BaseException | None = None
        self._arguments = {"job": job, "arguments": arguments, "board": self._board}
        self._folder = folder
        self._thread = threading.Thread(target=self._fit, name="ray-job", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended; waits at most so long."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raises WorkerError with what a job that has ended could not do."""
        if error := self.seat.tell("error"):
            raise WorkerError(error)
        if self._failure is not None:
            raise WorkerError(f"the workers have ended: {self._failure}") from self._failure

    def _fit(self) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        from recsys.workers.meeting import NoGroup

        trainer = TorchTrainer(
            _work,
            train_loop_config=self._arguments,
            torch_config=NoGroup(),
            scaling_config=ScalingConfig(**self._scaling),
            run_config=RunConfig(storage_path=str(self._folder), failure_config=FailureConfig(max_failures=-1)),
        )
        try:
            trainer.fit()
        except Exception as error:
            self._failure = error


def _work(given: dict[str, Any]) -> None:
    from ray.train import get_context

    from recsys.workers.meeting import process_group

    context = get_context()
    seat = Seat(context.get_world_rank(), context.get_world_size(), given["board"])
    with process_group(seat.rank, seat.size):
        given["job"](seat, given["arguments"])
