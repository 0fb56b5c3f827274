"""A server for benchmarks: `python -m benchmarks._server CORE REDIS_FOLDER LOG_FOLDER [OPTION ...]` prints its URL.

`durable`: answers wait for the log; `popularity`: nobody is refused under load.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from serving.model.scorer import load_scorer
from serving.process_settings import Settings
from serving.server import run
from streaming.log.file_log import FileLog


def main(core: str, redis_folder: str, log_folder: str, *options: str) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})  # before any thread starts, so that all of them inherit it
    settings = Settings(
        port=0,
        redis_folder=Path(redis_folder),
        durable="durable" in options,
        overload="popularity" if "popularity" in options else "refuse",
    )
    run(settings, FileLog(Path(log_folder)), partial(load_scorer, threads=1), lambda url: print(url, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
