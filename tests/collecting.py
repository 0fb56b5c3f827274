"""Which files pytest imports: each worker imports all that it collects, PyTorch's compiler and TorchRec with some."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from _pytest.doctest import DoctestModule

WHOLLY_SLOW = re.compile(r"^pytestmark = .*\bpytest\.mark\.slow\b", re.MULTILINE)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Leave out files without examples in docstrings, and those of slow tests alone where no slow test is run."""
    found = yield
    if not found:
        return found
    text = file_path.read_text("utf-8")
    if parent.config.option.markexpr == "not slow" and WHOLLY_SLOW.search(text):
        return []
    return [one for one in found if ">>>" in text or not isinstance(one, DoctestModule)]
