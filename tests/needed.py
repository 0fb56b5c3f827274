"""Programs of the system that some tests need."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest


def need(lacking: Sequence[str], packages: str, tests: str) -> None:
    """Skip the test, or fail it in CI, where one of the programs is missing; the packages have them."""
    if lacking:
        needed = f"{' and '.join(lacking)} not found: install {packages} for the tests of {tests}"
        if os.environ.get("CI"):
            pytest.fail(needed)
        pytest.skip(needed)
