"""The signals that ask a process to end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Within the block SIGINT and SIGTERM call `handler`, and afterwards what they called before; in the main thread.

    >>> heard = []
    >>> with handled_by(lambda number, _frame: heard.append(number)):
    ...     signal.raise_signal(signal.SIGTERM)
    >>> heard == [signal.SIGTERM]
    True
    """
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)
