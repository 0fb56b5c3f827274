"""Waiting for another process to get somewhere that it does not announce."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

PATIENCE = 600.0
"""Seconds until a process is given up: far more than any needs, on a busy machine, too."""
_T = TypeVar("_T")


def until(condition: Callable[[], _T | None], what: str, seconds: float = PATIENCE) -> _T:
    """Ask until the answer is true, and return it. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)
    return answer


def ready(client: httpx.Client) -> bool:
    """Whether there is a server that has its models."""
    try:
        return client.get("/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
