"""Processes that answer nothing, for tests of what starts and ends them: `python -m tests.serving.processes.light`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from serving.processes.siblings import Siblings
from serving.processes.supervisor import Supervisor


def wait_for_the_end(_: Siblings, port: int, ready: Callable[[], None]) -> None:
    print(port, os.getpid(), flush=True)
    ready()
    threading.Event().wait()


if __name__ == "__main__":
    Supervisor(wait_for_the_end, 2, "127.0.0.1", 0).run(lambda _: None)
