"""Waiting for another thread or process to get somewhere that it does not announce."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

_T = TypeVar("_T")


def ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie whose parent has not asked for it yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def until(condition: Callable[[], _T | None], seconds: float = 120.0) -> _T:
    """Ask again and again until the answer is true, and return it; fails after `seconds`."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        if answer := condition():
            return answer
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain"
        pause.wait(0.005)
