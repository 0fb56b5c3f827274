"""A Redis that wants a password."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.commands.demo.ports import free_port
from serving.replication.embedded_redis import executable
from tests.serving.waiting import until


@contextmanager
def protected_redis(folder: Path, password: str) -> Iterator[int]:
    """Its port on 127.0.0.1, while the block runs."""
    port = free_port()
    command = [executable(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", password]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: _answers(port))
            yield port
        finally:
            server.kill()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
