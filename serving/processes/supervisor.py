"""Starts server processes, starts those anew that end or say nothing more, and ends them all."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from recsys.errors import InvalidValueError
from serving.listening.end_signals import handled_by
from serving.listening.http_server import listening
from serving.processes.siblings import Siblings, shared_port

_logger = logging.getLogger(__name__)
_SPAWN = multiprocessing.get_context("spawn")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a process that ended is started anew; twice as long each time, until one has been ready."""
_SILENCE = 20.0
"""Seconds without a sign of life after which a process that answered is killed: it is stopped, or its loop hangs."""
_STARTING = 600.0
"""The same before its first sign of life: models and the end of the log are read in seconds, or minutes if slowly."""
_LATE = 1.0
"""Seconds by which a wait may take too long: after more of them this process was stopped itself, perhaps with all."""
_END = 60.0
"""Seconds after which processes that were told to end are killed."""

Target = Callable[[Siblings, int, Callable[[], None]], None]
"""Serves as one of the siblings, on this port, until SIGTERM; calls the function when it answers, and about once a
second while it does. It can be pickled."""


@dataclass(slots=True)
class _Child:
    """One place among the processes, and who has it."""

    siblings: Siblings
    process: SpawnProcess
    alive: Connection
    """Something can be read from it for each sign of life."""
    heard: float
    """When the last one came, or the process was started, in seconds of the monotonic clock."""
    answered: bool = False
    killed: bool = False
    pause: float = _FIRST_PAUSE
    due: float = field(default=float("inf"))
    """When it is started anew."""


class Supervisor:
    """`count` processes that run `target`, on one port of `host`; 0 is any free one.

    One that has answered and gives no sign of life for `silence` seconds is killed, which starts it anew; so is one
    that does not answer within `starting` seconds.

    Raises InvalidValueError if the port is in use, or a process ends by itself before all have been ready.
    """

    def __init__(
        self,
        target: Target,
        count: int,
        host: str,
        port: int,
        silence: float = _SILENCE,
        starting: float = _STARTING,
    ) -> None:
        self._target, self._count, self._host, self._port = target, count, host, port
        self._silence, self._starting = silence, starting
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
        """Wait until something happens: a process ends, is alive or silent, one is due, or a signal comes."""
        running = [child for child in self._children if child.due == float("inf")]
        until = min(min(child.due, self._patience_ends(child)) for child in self._children)
        timeout = None if until == float("inf") else max(until - time.monotonic(), 0)
        both = [end for child in running for end in (child.alive, child.process.sentinel)]
        happened = wait([self._wake[0], *both], timeout)
        now = time.monotonic()  # once: this process may be stopped at any line
        late = now > until + _LATE
        for child in running:
            if child.alive in happened:
                self._hear(child)
            elif late:
                child.heard = now
            if child.process.sentinel in happened and not self._stop.is_set():
                child.process.join()
                if not announced and not child.killed:
                    raise InvalidValueError(f"a server process ended with status {child.process.exitcode}: see above")
                self._lose(child)
            elif now > self._patience_ends(child):
                self._kill(child)

    def _patience_ends(self, child: _Child) -> float:
        return child.heard + (self._silence if child.answered else self._starting)

    def _hear(self, child: _Child) -> None:
        try:
            while child.alive.poll():
                child.alive.recv_bytes()
            child.heard = time.monotonic()
            child.answered, child.pause = True, _FIRST_PAUSE
        except EOFError:
            pass  # it has ended, as its sentinel says

    def _kill(self, child: _Child) -> None:
        number = child.siblings.number
        if child.answered:
            _logger.warning("server process %d was silent for %.0f s and is killed", number, self._silence)
        else:
            _logger.warning("server process %d did not answer within %.0f s and is killed", number, self._starting)
        child.heard, child.killed = time.monotonic(), True
        child.process.kill()

    def _lose(self, child: _Child) -> None:
        number = child.siblings.number
        _logger.warning(
            "server process %d ended with status %s; it is started anew in %.1f s, the others answer meanwhile",
            number,
            child.process.exitcode,
            child.pause,
        )
        child.alive.close()
        child.heard, child.due = float("inf"), time.monotonic() + child.pause

    def _started(self, siblings: Siblings, port: int, before: float = _FIRST_PAUSE / 2) -> _Child:
        mine, theirs = _SPAWN.Pipe(duplex=False)
        process = _SPAWN.Process(
            target=_serve, args=(self._target, siblings, port, theirs), name=f"server-{siblings.number}"
        )
        process.start()
        theirs.close()
        return _Child(siblings, process, mine, time.monotonic(), pause=min(2 * before, _LONGEST_PAUSE))

    def _end(self) -> None:
        """Let all answer their open requests and store their events."""
        running = [child.process for child in self._children if child.due == float("inf")]
        for process in running:
            process.terminate()
            _wake_up(process)
        until = time.monotonic() + _END
        for process in running:
            process.join(max(until - time.monotonic(), 0))
            if process.is_alive():
                _logger.error("%s did not end within %.0f s and is killed", process.name, _END)
                process.kill()
                process.join()
        for child in self._children:
            child.alive.close()

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


def _serve(target: Target, siblings: Siblings, port: int, alive: Connection) -> None:
    """In the process: serve until the supervisor says so, or is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the supervisor ends them
    threading.Thread(target=_end_with, args=(parent.sentinel,), name="parent", daemon=True).start()
    os.set_blocking(alive.fileno(), False)

    def beat() -> None:
        with suppress(OSError):  # the supervisor is gone, or does not read
            alive.send_bytes(b"alive")

    target(siblings, port, beat)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _wake_up(process: SpawnProcess) -> None:
    """A process that is stopped takes no other signal."""
    if process.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
