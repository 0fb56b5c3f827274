"""A server for benchmarks: `python -m benchmarks._server CORES REDIS_FOLDER LOG_FOLDER [OPTION ...]` prints its URL.

One process for each of the cores, such as `0,1`. `durable`: answers wait for the log; `popularity`: nobody is refused
under load; `bfloat16`: scores in that; `numba`: scores by the kernel of AutoInt, `mixed`: partly in bfloat16.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from serving.model.checked_scorer import load_checked, load_mixed
from serving.model.chunked_scorer import Scorer
from serving.model.scorer import Engine, load_scorer
from serving.process_settings import Settings
from serving.processes.siblings import Siblings
from serving.processes.supervisor import Supervisor
from serving.server import run, run_as
from streaming.log.file_log import FileLog


def main(cores: str, redis_folder: str, log_folder: str, *options: str) -> None:
    numbers = [int(core) for core in cores.split(",")]
    if len(numbers) == 1:
        _pin(numbers[0])
        scorer = _scorer(options)
        run(_settings(redis_folder, options), FileLog(Path(log_folder)), scorer, lambda url: print(url, flush=True))
        return
    target = partial(_serve, numbers, redis_folder, log_folder, options)
    Supervisor(target, len(numbers), "127.0.0.1", 0).run(lambda port: print(f"http://127.0.0.1:{port}", flush=True))


def _scorer(options: Sequence[str]) -> Callable[[bytes], Scorer]:
    if "mixed" in options:
        return load_mixed
    engine: Engine = "numba" if "numba" in options else "auto"
    return partial(load_checked if "bfloat16" in options else load_scorer, engine=engine, threads=1)


def _serve(
    cores: Sequence[int],
    redis_folder: str,
    log_folder: str,
    options: Sequence[str],
    siblings: Siblings,
    port: int,
    alive: Callable[[], None],
) -> None:
    _pin(cores[siblings.number])
    settings = _settings(redis_folder, options, port)
    run_as(siblings, settings, FileLog(Path(log_folder)), partial(load_scorer, threads=1), alive)


def _pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})  # before any thread starts, so that all of them inherit it


def _settings(redis_folder: str, options: Sequence[str], port: int = 0) -> Settings:
    return Settings(
        port=port,
        redis_folder=Path(redis_folder),
        durable="durable" in options,
        overload="popularity" if "popularity" in options else "refuse",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
