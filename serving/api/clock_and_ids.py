"""Clocks and ids of a server, which tests set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClockAndIds:
    """Clocks and ids of a server."""

    clock: Callable[[], float]
    """Seconds, monotonic."""
    now: Callable[[], int]
    """Milliseconds since the epoch."""
    new_id: Callable[[], str]
