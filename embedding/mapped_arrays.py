"""Arrays in files without a name, which the system keeps in memory only as far as there is room."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.errors import file_errors


def mapped_zeros(
    folder: Path, n: int, dtype: npt.DTypeLike, what: str = "the folder of rows on disk"
) -> npt.NDArray[Any]:
    """n zeros in a new file of `folder`, which the system deletes with the array or the process.

    The whole file is reserved at once, so that a full disk is an error here and never later.
    Raises FileError naming the folder, which is `what` to the user, if it cannot be written to, or the disk has no
    room.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     array = mapped_zeros(Path(folder), 3, np.uint64)
    ...     array[1] = 7
    ...     array.tolist(), list(Path(folder).iterdir())
    ([0, 7, 0], [])
    """
    kind = np.dtype(dtype)
    size = max(1, n) * kind.itemsize
    with file_errors(what, folder), tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file.fileno(), size)
        area = mmap.mmap(file.fileno(), size)
        if hasattr(mmap, "MADV_RANDOM"):
            area.madvise(mmap.MADV_RANDOM)  # neighbours of a row are of no use
    return np.frombuffer(area, kind)[:n]


def _reserve(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS
        part = bytes(min(size, 1 << 20))
        for begin in range(0, size, len(part)):
            os.pwrite(file, part[: size - begin], begin)
