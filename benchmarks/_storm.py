"""The processes of the loop, and how each of them is killed."""

from __future__ import annotations

import os
import re
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import httpx
import psutil

from benchmarks._supervised import Supervised
from benchmarks._waiting import PATIENCE, ready, until
from deploy.kafka.broker import Broker
from recsys.training.checkpoint.checkpoints import Checkpoints

_MARK = "RECSYS_STORM"
"""The environment variable by which all processes of a storm are found, those of Ray, too."""


class Storm:
    """Broker, server and trainer over FOLDER/recsys.toml, from now until `close`."""

    KINDS: ClassVar = ("server", "trainer", "broker", "redis")
    """Beside these the workers, `worker 0` and so on, where there are several."""

    def __init__(self, folder: Path, broker: Broker, url: str) -> None:
        self.kills: list[tuple[str, int]] = []
        """Who was killed, and its process."""
        self.broker, self.url = broker, url
        self._http = httpx.Client(base_url=url, timeout=60)
        self._folder, self._mark = folder, uuid.uuid4().hex
        self.server, self.trainer = self._supervised("serve"), self._supervised("train")

    def kill_each(self, kinds: Sequence[str], pause: float) -> None:
        """Every `pause` seconds the first in the list that lives and was not killed for its place yet."""
        left = list(kinds)
        while left:
            time.sleep(pause)
            kind = until(lambda: next(filter(self._living, left), None), " or ".join(left))
            self._kill(kind)
            left.remove(kind)
            print(f"killed {kind}", flush=True)

    def _kill(self, kind: str) -> None:
        """kill -9 of the living process of this kind; returns when it is gone."""
        process = until(lambda: self._living(kind), f"a {kind} to kill")
        if kind == "broker":
            self.broker.kill()
        else:
            process.kill()
            psutil.wait_procs([process], timeout=PATIENCE)
        if process.is_running():
            raise RuntimeError(f"{kind}, process {process.pid}, lives on")
        self.kills.append((kind, process.pid))
        if kind == "broker":
            self.broker.start()

    def _living(self, kind: str) -> psutil.Process | None:
        pid = self._pid(kind)
        try:
            process = psutil.Process(pid) if pid else None
            return process if process and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def _pid(self, kind: str) -> int:
        if kind == "broker":
            return self.broker.pid
        if kind == "redis":
            file = self._folder / "run" / "redis" / "redis.pid"
            return int(file.read_text() or 0) if file.exists() else 0
        if kind in ("server", "trainer"):
            return (self.server if kind == "server" else self.trainer).pid
        named = re.findall(rf"W{kind[1:]} is process (\d+)", self.trainer.said)
        return int(named[-1]) if named else 0

    def await_model(self) -> None:
        """Until the server has one."""
        until(lambda: ready(self._http), "a model")

    def await_checkpoint(self) -> None:
        """Until the trainer has written one."""
        until(Checkpoints(self._folder / "run" / "checkpoints").all, "a checkpoint")

    @property
    def goes_on(self) -> bool:
        """Whether the trainer that was started last began at a checkpoint."""
        return "Resumed from" in self.trainer.said

    def await_all(self) -> None:
        """Until all processes live, the trainer has its checkpoint, and the server a model."""
        until(lambda: self._living("redis"), "Redis")
        until(lambda: re.search("Resumed from|Starting with", self.trainer.said), "a trainer")
        self.await_model()

    def close(self) -> None:
        """End all processes, those that outlived who started them, too."""
        self._http.close()
        for one in (self.trainer, self.server):
            one.stop()
        for process in psutil.process_iter():
            if process.pid != os.getpid() and _environment(process).get(_MARK) == self._mark:
                process.kill()

    def _supervised(self, command: str) -> Supervised:
        words = [sys.executable, "-m", "recsys", command, "-c", str(self._folder / "recsys.toml")]
        environment = {_MARK: self._mark, "PYTHONUNBUFFERED": "1"}
        return Supervised(words, self._folder / f"{command}.log", environment)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
