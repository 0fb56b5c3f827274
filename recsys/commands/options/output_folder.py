"""The folder for the results: `--out`."""

from __future__ import annotations

import os
from pathlib import Path

from recsys.errors import InvalidValueError


def check_out(folder: Path) -> None:
    """Raises InvalidValueError if the folder cannot be made or written to. Makes nothing."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InvalidValueError(f"--out {folder}: {there} is a file; choose another folder, or remove it")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidValueError(
            f"--out {folder}: {there} is not writable; choose another folder, or change its permissions"
        )
