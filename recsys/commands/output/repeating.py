"""Work that is done again and again beside other work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(work: Callable[[], object], seconds: float, name: str) -> Iterator[None]:
    """Do `work` every so many `seconds`, in a thread of this `name`; the last time ends before this does."""
    done = threading.Event()

    def follow() -> None:
        while not done.wait(seconds):
            work()

    thread = threading.Thread(target=follow, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
