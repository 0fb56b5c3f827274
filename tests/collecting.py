"""Which files pytest imports: each worker imports all that it collects, PyTorch's compiler and TorchRec with some."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from _pytest.doctest import DoctestModule

WHOLLY_SLOW = re.compile(r"^pytestmark = .*\bpytest\.mark\.slow\b", re.MULTILINE)
LOADS_TORCHREC = Path(__file__).parents[1] / "embedding" / "torchrec"


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Leave out files without examples in docstrings; where no slow test is run, also TorchRec and wholly slow files.

    TorchRec takes seconds to load.
    """
    found = yield
    if not found:
        return found
    text = file_path.read_text("utf-8")
    fast = parent.config.option.markexpr == "not slow"
    if fast and (WHOLLY_SLOW.search(text) or LOADS_TORCHREC in file_path.parents):
        return []
    return [one for one in found if ">>>" in text or not isinstance(one, DoctestModule)]
