"""A server process for fault tests, which prints its URL.

`python -m tests.faults.serve_process REDIS_FOLDER LOG_FOLDER [DEADLINE [durable]]`, the deadline in ms.
"""

from __future__ import annotations

import sys
from pathlib import Path

from serving.process_settings import Settings
from serving.server import run
from streaming.log.file_log import FileLog
from tests.serving.fakes import Graphs


def main(redis_folder: str, log_folder: str, deadline: str = "60000", durable: str = "") -> None:
    settings = Settings(
        port=0, redis_folder=Path(redis_folder), cache_rows=1000, deadline=int(deadline), durable=bool(durable)
    )
    with_log = FileLog(Path(log_folder))
    run(settings, with_log, Graphs(), ready=lambda url: print(url, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
