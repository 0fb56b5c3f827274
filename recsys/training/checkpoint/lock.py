"""At most one trainer per folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.errors import CheckpointError, file_errors
from streaming.own_files import own


@contextmanager
def exclusive(folder: Path, remedy: str) -> Iterator[None]:
    """Lock `folder` for this process while the block runs; the lock ends with the process, even when killed.
    A forked child does not have it.

    Raises CheckpointError, with the other's process id and the `remedy`, if another process has locked it, if this one
    has, and if the folder cannot be written to.
    """
    with file_errors("the checkpoints ([training] checkpoints)", folder, CheckpointError):
        folder.mkdir(parents=True, exist_ok=True)
        file = own((folder / "lock").open("a+"))
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read() or "(unknown)"
            if owner == str(os.getpid()):
                raise CheckpointError(
                    f"{folder} is in use by another object of this process: close() that one first, such as the "
                    "Recommender that an earlier cell of a notebook has made"
                ) from None
            raise CheckpointError(f"{folder} is in use by process {owner}: {remedy}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            if not file.closed:  # as it is in a forked child
                fcntl.flock(file, fcntl.LOCK_UN)  # now, also where a child has not yet closed its copy
