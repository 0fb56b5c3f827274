"""Open files that belong to one process, such as those that hold its locks."""

from __future__ import annotations

import os
from typing import IO, Any, Final, TypeVar
from weakref import WeakSet

File = TypeVar("File", bound=IO[Any])

_open: Final[WeakSet[IO[Any]]] = WeakSet()


def own(file: File) -> File:
    """The file, which a forked child finds closed.

    A lock (flock) belongs to the open file, which a child shares: there it would outlive its holder, and the child
    could release it. Closing the child's copy leaves the lock to the parent. What was written must have been flushed.
    """
    _open.add(file)
    return file


def _close_inherited() -> None:
    for file in list(_open):
        file.close()


os.register_at_fork(after_in_child=_close_inherited)
