"""Where a command writes its files: `--out`."""

from __future__ import annotations

import os
from pathlib import Path

from recsys.errors import InvalidValueError


def check_out(folder: Path) -> None:
    """Raises ValueError with a remedy where the folder cannot be made or written to. Makes nothing."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InvalidValueError(f"--out {folder}: {there} is a file; name another folder, or remove the file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidValueError(
            f"--out {folder}: {there} may not be written to; name another folder, or change its rights"
        )
