"""The connections of one server: how many there may be, and who gives way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client may take of a server before its request is whole."""

    connections: int = 500
    """Most that are open at once."""
    header: int = 16_384
    """Most bytes of a request before its body; of what stands around the parts of a body, too."""
    header_seconds: float = 10.0
    """From the first byte of a request to the last of its header; also the wait for a first byte."""
    body_seconds: float = 60.0
    """From there to the last byte of its body; also the time for a client to take an answer."""


class Waiting(Protocol):
    """A connection that may have to wait for its client."""

    def give_way(self) -> None:
        """Close at once."""
        ...


class OpenConnections:
    """Counts connections, and knows which of them wait for their clients, the longest first.

    A server that is full closes the one that has waited longest when another client comes: clients that hold some
    open without asking lose them first, and others get in. Only if every connection has its request with the server
    is the new one refused. `refused` counts by reason: `connections` (gave way, or not let in), `slow`, `header`,
    `malformed`.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.refused = Counter({"connections": 0, "slow": 0, "header": 0, "malformed": 0})
        self._open: set[Waiting] = set()
        self._waiting: dict[Waiting, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, one: Waiting) -> bool:
        """Whether there is room for this connection, perhaps since another one gave way."""
        self._open.add(one)
        if len(self._open) <= self.limits.connections:
            return True
        self.refused["connections"] += 1
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return False
        self.closed(oldest)
        oldest.give_way()
        return True

    def closed(self, one: Waiting) -> None:
        self._open.discard(one)
        self._waiting.pop(one, None)

    def waits(self, one: Waiting) -> None:
        """From now on this connection waits for its client."""
        self._waiting.pop(one, None)
        if one in self._open:
            self._waiting[one] = None

    def goes_on(self, one: Waiting) -> None:
        """It is the server's turn."""
        self._waiting.pop(one, None)
