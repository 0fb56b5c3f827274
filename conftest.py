"""Doctests of `embedding.gpu` run where its tests do: see tests/embedding/gpu/conftest.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embedding.gpu.where import INTERPRETED, nowhere

KERNELS = Path(__file__).parent / "embedding" / "gpu"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """None leaves the decision to pytest."""
    return True if collection_path.parent == KERNELS and nowhere() else None


@pytest.fixture(autouse=True, scope="session")
def _device(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["device"] = "cpu" if INTERPRETED else "cuda"
