"""These tests run on a GPU, or on the CPU with TRITON_INTERPRET=1 set before Python starts.

Triton decides at its own import whether kernels are interpreted, and other tests import it compiled; so
`tests/embedding/test_gpu.py` runs this folder in a process of its own when there is no GPU.
"""

from __future__ import annotations

import os

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if not INTERPRETED and not _has_gpu():
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def device() -> str:
    return "cpu" if INTERPRETED else "cuda"
