"""A lock that many readers may hold together, or one writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedLock:
    """Readers never wait for a writer that waits, so that a long read does not hold up the short ones."""

    def __init__(self) -> None:
        self._counting, self._free = threading.Lock(), threading.Lock()
        self._readers = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._counting:
            self._readers += 1
            if self._readers == 1:
                self._free.acquire()
        try:
            yield
        finally:
            with self._counting:
                self._readers -= 1
                if not self._readers:
                    self._free.release()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._free:
            yield
