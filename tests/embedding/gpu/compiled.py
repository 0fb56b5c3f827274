"""Compile every kernel to an H100's machine code, with the arguments of its real callers; no GPU is needed.

`python -m tests.embedding.gpu.compiled` prints a line a kernel. Triton's driver is one that only names the target, and
launching stops after compiling, so the tables here answer nothing sensible.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget

from embedding.gpu import id_table, kernels, sweep, touched


class Driver:
    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_only(kernel: Any, n: int, block: int, *arguments: Any, **constants: Any) -> None:
    """Stands in for `embedding.gpu.launch.launch`."""
    if kernel is sweep.count:
        arguments[-1].fill_(1)  # something to collect
    done = kernel.warmup(*arguments, **constants, BLOCK=block, num_warps=1, grid=(triton.cdiv(n, block),))
    swaps = ".cas.b64" in done.asm["ptx"]
    assert swaps == (kernel in (kernels.claim, kernels.move)), "ids are swapped in as a whole, and nowhere else"
    assert done.asm["cubin"]
    print(kernel.__name__)


def main() -> None:
    triton.runtime.driver.set_active(Driver())
    triton.knobs.runtime.interpret = True  # lets a table be on the CPU; the kernels are not interpreted
    id_table.launch = touched.launch = compile_only  # type: ignore[attr-defined]
    ids = torch.arange(7)
    table = id_table.GpuIdTable(1000, device="cpu")
    table.find(ids)
    table.restore(ids, ids)
    table.remove(ids)
    table.shrink()
    table.evict(3)
    changes = touched.TouchedRows(id_table.GpuIdTable(1000, device="cpu"))
    changes.mark(ids)
    changes.export()


if __name__ == "__main__":
    main()
