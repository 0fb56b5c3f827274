"""At most one trainer per folder."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recsys.errors import CheckpointError, file_errors
from streaming.own_files import own

_SHOWN: Final = 100
"""Characters of a command."""


@contextmanager
def exclusive(folder: Path, remedy: str) -> Iterator[None]:
    """Lock `folder` for this process while the block runs; the lock ends with the process, even when killed.
    A forked child does not have it.

    Raises CheckpointError, with the other's process id, its command and the `remedy`, if another process has locked it,
    if this one has, and if the folder cannot be written to.
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
            if owner.partition(" ")[0] == str(os.getpid()):
                message = f"{folder} is in use by another trainer of this process: let it end first"
                raise CheckpointError(message) from None
            raise CheckpointError(f"{folder} is in use by process {owner}: {remedy}") from None
        file.truncate(0)
        file.write(f"{os.getpid()} ({_command()})")
        file.flush()
        try:
            yield
        finally:
            if not file.closed:  # as it is in a forked child
                fcntl.flock(file, fcntl.LOCK_UN)  # now, also where a child has not yet closed its copy


def _command() -> str:
    """What this process was started as, such as `recsys train --once`."""
    words = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]).strip()
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."
