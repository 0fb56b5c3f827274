"""Starting a kernel over n items."""

from __future__ import annotations

from typing import Any

import torch
import triton


def launch(kernel: Any, n: int, block: int, first: torch.Tensor, *arguments: Any, **constants: Any) -> None:
    """Run `kernel` with one program, of one warp, for every `block` of n items, on the device of its `first` argument.

    One warp, so that a program's lanes agree without a barrier when to stop searching.
    """
    if n:
        with torch.cuda.device_of(first):  # type: ignore[no-untyped-call]
            kernel[(triton.cdiv(n, block),)](first, *arguments, **constants, BLOCK=block, num_warps=1)
