"""After warming, a process that joins and counts compiles nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from numba.core.dispatcher import Dispatcher

from streaming.join.tables import kernels as join
from streaming.windows import counter_kernels as windows

WITHIN = {"loosen", "count"}
"""Called by kernels alone, as those that begin with _ are."""


@pytest.mark.slow
def test_every_kernel_is_in_the_cache_after_warming() -> None:
    code = "from streaming.warm import warm; warm()\nfrom tests.streaming.test_warm import left; print(left())"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[1].stdout.strip() == "[]"


def left() -> list[str]:
    """Kernels that no call has needed yet, and those that this process had to compile."""
    kernels = [one for room in (join, windows) for one in vars(room).values() if isinstance(one, Dispatcher)]
    assert len(kernels) > 30
    begun = {one.py_func.__name__ for one in kernels if one.signatures}
    called = {name for one in kernels if not (name := one.py_func.__name__).startswith("_")} - WITHIN
    return sorted(called - begun) + [one.py_func.__name__ for one in kernels if one.stats.cache_misses]
