"""Processes that answer nothing, for tests of what starts and ends them.

`python -m tests.serving.processes.light [SECONDS [STARTING]]`: those that say nothing for so long are killed. With the
second, the first process number 0 stops itself before its first sign of life, for which they have so long.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

from serving.processes.siblings import Siblings
from serving.processes.supervisor import Supervisor


def say(port: int) -> None:
    """The port and the process, in one write: both processes share the pipe, and Python may write a line in pieces."""
    os.write(1, f"{port} {os.getpid()}\n".encode())


def wait_for_the_end(_: Siblings, port: int, alive: Callable[[], None]) -> None:
    alive()  # before a test can stop it: those that never were alive have longer
    say(port)
    while True:
        alive()
        threading.Event().wait(0.1)


def stop_at_first(siblings: Siblings, port: int, alive: Callable[[], None]) -> None:
    seen = siblings.folder / "seen"
    if siblings.number == 0 and not seen.exists():
        seen.touch()
        say(port)
        os.kill(os.getpid(), signal.SIGSTOP)
    wait_for_the_end(siblings, port, alive)


if __name__ == "__main__":
    silence, starting = (float(sys.argv[n]) if len(sys.argv) > n else 600.0 for n in (1, 2))
    target = stop_at_first if len(sys.argv) > 2 else wait_for_the_end
    Supervisor(target, 2, "127.0.0.1", 0, silence, starting).run(lambda _: None)
