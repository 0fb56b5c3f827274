"""Compile the kernel of AutoInt into Numba's cache: `python -m serving.warm`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import numpy as np

from serving.model.autoint.autoint_scorer import AutoIntScorer
from serving.model.graph_reader import ReadGraph

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "model.layers.0.projection.weight": (16, 4),
    "model.layers.0.projection.bias": (16,),
    "model.layers.0.norm.weight": (4,),
    "model.layers.0.norm.bias": (4,),
    "model.output.weight": (1, 4),
    "model.output.bias": (1,),
    "model.mlp.layers.0.weight": (4, 4),
    "model.mlp.layers.0.bias": (4,),
    "model.mlp.layers.1.weight": (1, 4),
    "model.mlp.layers.1.bias": (1,),
    "correction": (),
}
_OPTIONS = {"name": "autoint", "form": "code", "layers": 1, "heads": 1, "units": 4, "residual": True, "wide": False,
            "mlp": [4], "mlp_norm": "none"}  # fmt: skip


def warm() -> float:
    """Run it once; returns seconds (well under one when it was cached). It is the same for every model."""
    begin = time.perf_counter()
    constants = {name: np.zeros(shape, np.float32) for name, shape in _SHAPES.items()}
    scorer = AutoIntScorer(ReadGraph({"item_rows": (None, 1, 4)}, (None, 1), constants, _OPTIONS))
    numbers = np.zeros((1, 0), np.float32)
    scorer.score(np.zeros((1, 0, 4), np.float32), np.zeros((1, 1, 4), np.float32), numbers, numbers)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.stdout.write(f"compiled loops (kernels) of scoring ready in {warm():.1f} s\n")
