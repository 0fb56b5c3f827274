"""Without a GPU: the kernels' tests in Triton's interpreter, and the kernels compiled to CUDA machine code."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
KERNELS = {"find", "touch", "claim", "recall", "drop", "move", "count", "collect", "eviction_ties", "mark"}


def _run(arguments: list[str], **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | variables
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="tests/embedding/gpu runs in this very process")
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_table_in_the_interpreter() -> None:
    out = _run(["-m", "pytest", "tests/embedding/gpu"], TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
    assert " passed" in out
    assert " skipped" not in out


@pytest.mark.slow
def test_every_kernel_compiles_to_machine_code(tmp_path: Path) -> None:
    """The interpreter takes more than the compiler does."""
    out = _run(["-W", "error", "-m", "tests.embedding.gpu.compiled"], TRITON_CACHE_DIR=str(tmp_path))
    assert set(out.split()) == KERNELS


def test_importing_embedding_loads_neither_torch_nor_triton() -> None:
    _run(["-c", "import sys, embedding; assert not {'torch', 'triton'} & set(sys.modules)"])


@pytest.mark.slow
def test_a_table_on_the_cpu_without_the_interpreter_says_what_to_do() -> None:
    script = "from embedding.gpu.id_table import GpuIdTable\ntry:\n    GpuIdTable(8, device='cpu')\n"
    script += "except ValueError as error:\n    print(error)"
    assert "TRITON_INTERPRET=1" in _run(["-c", script])
