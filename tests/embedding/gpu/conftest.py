"""These tests run on a GPU, or on the CPU with TRITON_INTERPRET=1 set before Python starts.

Triton decides at its own import whether kernels are interpreted, and other tests import it compiled; so
`tests/embedding/test_gpu.py` runs this folder in a process of its own when there is no GPU.
"""

from __future__ import annotations

import pytest

from tests.embedding.gpu.where import INTERPRETED, nowhere

if nowhere():
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def device() -> str:
    return "cpu" if INTERPRETED else "cuda"
