"""Large arrays that take memory only where they are written."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

HUGE = 2 << 20  # bytes of a huge page
_HUGE_FROM = 32 << 20  # in smaller arrays half-used huge pages cost more than they gain
_NUMPY_HUGE_FROM = 4 << 20  # NumPy itself asks for huge pages from here on


def lazy_zeros(n: int, dtype: npt.DTypeLike, huge: bool = True) -> npt.NDArray[Any]:
    """n zeros, aligned to 64 bytes. Pages are allocated when first written; large arrays use huge pages.

    Set `huge` to False for arrays that are first written in steps that must be short: allocating a huge page takes
    milliseconds on some machines.

    >>> int(lazy_zeros(1 << 16, np.uint64).sum())
    0
    """
    kind = np.dtype(dtype)
    size = n * kind.itemsize
    if size < (_HUGE_FROM if huge else _NUMPY_HUGE_FROM) or not hasattr(mmap, "MAP_PRIVATE"):
        small = np.zeros(size + 64, np.uint8)  # calloc: as lazy as mmap for large arrays
        offset = -small.ctypes.data % 64
        return small[offset : offset + size].view(kind)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    area = mmap.mmap(-1, size + HUGE, flags=flags)
    if huge and hasattr(mmap, "MADV_HUGEPAGE"):
        area.madvise(mmap.MADV_HUGEPAGE)
    big = np.frombuffer(area, np.uint8)
    offset = -big.ctypes.data % HUGE
    return big[offset : offset + size].view(kind)


def give_back(array: npt.NDArray[Any]) -> None:
    """Return the whole pages of `array` to the system where it supports that; their content is lost."""
    begin = -(-array.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (array.ctypes.data + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end > begin and sys.platform == "linux":
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)
