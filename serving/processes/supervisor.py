"""Starts server processes, starts those anew that end, and ends them all."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from recsys.errors import InvalidValueError
from serving.http_server import listening
from serving.processes.end_signals import handled_by
from serving.processes.siblings import Siblings, shared_port

_logger = logging.getLogger(__name__)
_SPAWN = multiprocessing.get_context("spawn")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a process that ended is started anew; twice as long each time, until one has been ready."""
_END = 60.0
"""Seconds after which processes that were told to end are killed."""

Target = Callable[[Siblings, int, Callable[[], None]], None]
"""Serves as one of the siblings, on this port, until SIGTERM; calls the function when it answers. It can be pickled."""


@dataclass(slots=True)
class _Child:
    """One place among the processes, and who has it."""

    siblings: Siblings
    process: SpawnProcess
    ready: Connection
    answered: bool = False
    pause: float = _FIRST_PAUSE
    due: float = field(default=float("inf"))
    """When it is started anew, in seconds of the monotonic clock."""


class Supervisor:
    """`count` processes that run `target`, on one port of `host`; 0 is any free one.

    Raises InvalidValueError if the port is in use, or a process ends before all have been ready.
    """

    def __init__(self, target: Target, count: int, host: str, port: int) -> None:
        self._target, self._count, self._host, self._port = target, count, host, port
        self._children: list[_Child] = []
        self._stop, self._wake = threading.Event(), os.pipe()

    def run(self, ready: Callable[[int], None]) -> None:
        """Until SIGINT or SIGTERM. `ready` is called with the port when all processes answer."""
        with (
            _reserved(self._host, self._port) as port,
            tempfile.TemporaryDirectory(prefix="recsys-") as folder,
            self._signals(),
        ):
            all_of_them = [Siblings(number, self._count, Path(folder)) for number in range(self._count)]
            try:
                self._children = [self._started(siblings, port) for siblings in all_of_them]
                self._watch(port, ready)
            finally:
                self._end()

    def _watch(self, port: int, ready: Callable[[int], None]) -> None:
        announced = False
        while not self._stop.is_set():
            self._look(announced=announced)
            if not announced and all(child.answered for child in self._children):
                announced = True
                ready(port)
            now = time.monotonic()
            for number, child in enumerate(self._children):
                if child.due <= now:
                    self._children[number] = self._started(child.siblings, port, child.pause)

    def _look(self, *, announced: bool) -> None:
        """Wait until something happens: a process ends or is ready, one is due, or a signal comes."""
        alive = [child for child in self._children if child.due == float("inf")]
        waiting = [child.ready for child in alive if not child.answered]
        due = min((child.due for child in self._children), default=float("inf"))
        timeout = None if due == float("inf") else max(due - time.monotonic(), 0)
        happened = wait([self._wake[0], *(child.process.sentinel for child in alive), *waiting], timeout)
        for child in alive:
            if child.ready in happened and child.ready.poll():
                self._hear(child)
            if child.process.sentinel in happened and not self._stop.is_set():
                child.process.join()
                if not announced:
                    raise InvalidValueError(f"a server process ended with status {child.process.exitcode}: see above")
                self._lose(child)

    def _hear(self, child: _Child) -> None:
        try:
            child.ready.recv_bytes()
            child.answered, child.pause = True, _FIRST_PAUSE
        except EOFError:
            pass  # it has ended, as its sentinel says

    def _lose(self, child: _Child) -> None:
        number = child.siblings.number
        _logger.warning(
            "server process %d ended with status %s; it is started anew in %.1f s, the others answer meanwhile",
            number,
            child.process.exitcode,
            child.pause,
        )
        child.ready.close()
        child.due = time.monotonic() + child.pause

    def _started(self, siblings: Siblings, port: int, before: float = _FIRST_PAUSE / 2) -> _Child:
        mine, theirs = _SPAWN.Pipe(duplex=False)
        process = _SPAWN.Process(
            target=_serve, args=(self._target, siblings, port, theirs), name=f"server-{siblings.number}"
        )
        process.start()
        theirs.close()
        return _Child(siblings, process, mine, pause=min(2 * before, _LONGEST_PAUSE))

    def _end(self) -> None:
        """Let all answer their open requests and store their events."""
        running = [child.process for child in self._children if child.due == float("inf")]
        for process in running:
            process.terminate()
        until = time.monotonic() + _END
        for process in running:
            process.join(max(until - time.monotonic(), 0))
            if process.is_alive():
                _logger.error("%s did not end within %.0f s and is killed", process.name, _END)
                process.kill()
                process.join()
        for child in self._children:
            child.ready.close()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(*_: object) -> None:
            self._stop.set()
            os.write(self._wake[1], b"x")

        try:
            with handled_by(stop):
                yield
        finally:
            for end in self._wake:
                os.close(end)


@contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """The port, bound and not listened to, so that nobody else gets it while the processes come and go.

    Raises InvalidValueError if it is in use, by another server's processes, too.
    """
    with listening(host, port) as alone:
        port = alone.getsockname()[1]
    with shared_port(host, port):
        yield port


def _serve(target: Target, siblings: Siblings, port: int, ready: Connection) -> None:
    """In the process: serve until the supervisor says so, or is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the supervisor ends them
    threading.Thread(target=_end_with, args=(parent.sentinel,), name="parent", daemon=True).start()
    target(siblings, port, lambda: ready.send_bytes(b"ready"))


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
