"""A process that is started again whenever it ends, as a supervisor such as systemd or Kubernetes does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

_STOP_TIMEOUT = 120.0
_PAUSE = 0.2
"""Seconds until a process that has ended is started again."""


class Supervised:
    """`command` from now on, with its output in `output`; a process that ends is started again until `stop`."""

    def __init__(self, command: list[str], output: Path, environment: dict[str, str]) -> None:
        self.ends: list[int] = []
        """Return codes of the processes that have ended; that of a kill -9 is -9."""
        self._output = output
        self._command, self._environment = command, os.environ | environment
        self._stops = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        return self._process.pid

    @property
    def said(self) -> str:
        """What the process that was started last has printed."""
        return self._output.read_bytes()[self._begin :].decode(errors="replace")

    def stop(self) -> None:
        """Ask the process to end (SIGTERM), and wait for it; it is killed after two minutes."""
        self._stops.set()
        if self._thread.is_alive():
            self._process.send_signal(signal.SIGTERM)
            self._thread.join(_STOP_TIMEOUT)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._output.open("ab") as output:
            self._begin = output.tell()
            return subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, env=self._environment, start_new_session=True
            )

    def _supervise(self) -> None:
        while True:
            self.ends.append(self._process.wait())
            if self._stops.wait(_PAUSE):
                return
            self._process = self._start()
