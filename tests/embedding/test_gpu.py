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
COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from embedding.gpu import kernels

INT64, INT32 = {"table", "wide", "ids", "rows", "state", "limits", "counts", "ends", "heats", "idle", "mixed",
    "minutes", "frequencies"}, {
    "table32", "wide32", "frequency", "free", "touched"}


def kind(name):
    if name in INT64 | INT32:
        return "*i64" if name in INT64 else "*i32"
    return "*i8" if name == "new" else "i32"


def compile(kernel, **constants):
    constants["BLOCK"] = 128
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else kind(name) for name in names}
    places = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1}).asm


claim = compile(kernels.claim)
assert ".cas.b64" in claim["ptx"], "ids are swapped in as a whole"
for asm in (
    claim,
    compile(kernels.find),
    compile(kernels.touch, LAST=False),
    compile(kernels.touch, LAST=True),
    compile(kernels.count, touched=None),
    compile(kernels.count),
    compile(kernels.collect, DROP=True, touched=None),
    compile(kernels.collect, DROP=False),
    compile(kernels.move),
    compile(kernels.recall),
    compile(kernels.mark),
    compile(kernels.mix_ids),
):
    assert asm["cubin"]
    print("compiled")
"""


def _run(arguments: list[str], **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | variables
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="tests/embedding/gpu runs in this very process")
@pytest.mark.timeout(1200)
def test_the_table_in_the_interpreter() -> None:
    out = _run(["-m", "pytest", "tests/embedding/gpu"], TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
    assert " passed" in out
    assert " skipped" not in out


def test_every_kernel_compiles_to_machine_code(tmp_path: Path) -> None:
    """The interpreter takes more than the compiler does; no GPU is needed to ask the latter."""
    out = _run(["-W", "error", "-c", COMPILE], TRITON_CACHE_DIR=str(tmp_path), PYTHONPATH=str(ROOT))
    assert out.count("compiled") == 12


def test_importing_embedding_loads_neither_torch_nor_triton() -> None:
    _run(["-c", "import sys, embedding; assert not {'torch', 'triton'} & set(sys.modules)"], PYTHONPATH=str(ROOT))


def test_a_table_on_the_cpu_without_the_interpreter_says_what_to_do() -> None:
    script = "from embedding.gpu.id_table import GpuIdTable\ntry:\n    GpuIdTable(8, device='cpu')\n"
    script += "except ValueError as error:\n    print(error)"
    assert "TRITON_INTERPRET=1" in _run(["-c", script], PYTHONPATH=str(ROOT))
