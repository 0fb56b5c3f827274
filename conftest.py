"""Doctests of `embedding.gpu` run where its tests do: on a GPU, or in Triton's interpreter (tests/embedding/test_gpu)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embedding.gpu.conftest import INTERPRETED, has_gpu

KERNELS = Path(__file__).parent / "embedding" / "gpu"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """None leaves the decision to pytest."""
    return True if collection_path.parent == KERNELS and not INTERPRETED and not has_gpu() else None


@pytest.fixture(autouse=True, scope="session")
def _device(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["device"] = "cpu" if INTERPRETED else "cuda"
