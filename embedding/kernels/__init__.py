"""Numba kernels, compiled once and cached on disk. Callers check the arguments.

Numba compares a cached kernel with its own file only, but kernels include code of other files. So all cached
kernels are deleted when any file here or in a room of it has changed.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path


def clear() -> int:
    """Delete cached kernels; returns how many files went."""
    files = [file for kind in ("*.nbi", "*.nbc") for file in Path(__file__).parent.rglob(f"__pycache__/{kind}")]
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


def _clear_when_changed() -> None:
    folder = Path(__file__).parent
    sources = b"".join(file.read_bytes() for file in sorted(folder.rglob("*.py")))
    stamp, digest = folder / "__pycache__" / "sources.sha256", hashlib.sha256(sources).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        clear()
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(digest)


with suppress(OSError):  # a read-only installation was compiled when it was built
    _clear_when_changed()
