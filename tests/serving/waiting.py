"""Waiting for another thread or process to get somewhere that it does not announce."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def until(condition: Callable[[], _T], seconds: float = 120.0) -> _T:
    """Ask again and again until the answer is true, and return it; fails after `seconds`."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not (answer := condition()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain"
        pause.wait(0.005)
    return answer
