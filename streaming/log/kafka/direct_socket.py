"""Sockets to brokers that are closed also when they never connect."""

from __future__ import annotations

import socket
from typing import Any

from kafka.net.inet import KafkaNetSocket

DIRECT = "direct:"
"""The `proxy_url` with which kafka-python connects by `DirectSocket`, without a proxy."""


class DirectSocket(KafkaNetSocket):  # type: ignore[misc]  # kafka-python has no types
    """Connects as kafka-python 3.0 does by default, and closes the socket if nothing comes of it.

    kafka-python leaves a socket open until it is collected when its broker refuses, when time is up, and when its
    client is closed meanwhile, which ends the coroutine at the place where it waits.
    """

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: socket.socket, address: Any, timeout_at: float | None = None) -> Any:
        try:
            return await super().sock_connect(net, sock, address, timeout_at=timeout_at)
        except BaseException:  # GeneratorExit, too
            sock.close()
            raise
