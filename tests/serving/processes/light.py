"""Processes that answer nothing, for tests of what starts and ends them.

`python -m tests.serving.processes.light [SECONDS]`: those that say nothing for so long are killed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from serving.processes.siblings import Siblings
from serving.processes.supervisor import Supervisor


def wait_for_the_end(_: Siblings, port: int, alive: Callable[[], None]) -> None:
    print(port, os.getpid(), flush=True)
    while True:
        alive()
        threading.Event().wait(0.1)


if __name__ == "__main__":
    silence = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    Supervisor(wait_for_the_end, 2, "127.0.0.1", 0, silence).run(lambda _: None)
