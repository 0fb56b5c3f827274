"""Ports for the processes of a command."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Different ones: each is held until all are found.

    >>> len(set(free_ports(50)))
    50
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
