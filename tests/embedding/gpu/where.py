"""Where kernels run: compiled on a GPU, or interpreted on the CPU."""

from __future__ import annotations

import os

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def nowhere() -> bool:
    """Neither."""
    import torch

    return not INTERPRETED and not torch.cuda.is_available()
