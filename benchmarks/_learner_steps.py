"""What something beside the ranking model adds to a learner's step, on batches of the shape of click-through logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import interleave
from benchmarks.loop import BATCH, config_in
from recsys import wiring
from recsys.config.schema import Config
from streaming.encode.batch import Jagged, TrainingBatch

IDS = 100_000
"""Of each field."""
TURN = 4
"""Steps of one side per turn."""


def seconds(options: Mapping[str, Mapping[str, Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of `TURN` steps in each round, by name; `options` are added to `[training]` of `benchmarks loop`.

    All learn from the same batches, which are made beforehand.
    """
    config, rng = config_in(Path()), np.random.default_rng(0)
    wiring.set_threads(config)
    batches = [batch(config, rng) for _ in range(TURN * (rounds + 1))]
    return interleave({name: _turn(config_in(Path(), added), batches) for name, added in options.items()}, rounds)


def _turn(config: Config, batches: Sequence[TrainingBatch]) -> Callable[[], None]:
    learner, following = wiring.learner(config), iter(batches)

    def turn() -> None:
        for one in islice(following, TURN):
            learner.step(one)

    return turn


def batch(config: Config, rng: np.random.Generator, rows: int = BATCH, ids: int = IDS) -> TrainingBatch:
    """So many rows with ids 1 to `ids` by a Zipf law, each of an item shown at random."""
    spec, ones_B = wiring.spec(config), np.ones(rows, np.int32)
    drawn = {f.name: rng.zipf(1.1, rows).astype(np.uint64) % np.uint64(ids) + np.uint64(1) for f in spec.sparse}
    columns: dict[str, Any] = {
        "ids": {name: Jagged(values_B, ones_B) for name, values_B in drawn.items()},
        "numeric_BN": rng.lognormal(size=(rows, len(spec.numeric))).astype(np.float32),
        "labels_B": (rng.random(rows) < 0.1).astype(np.float32),
        "counted_B": np.ones(rows, np.float32),
        "keys_B": np.arange(rows, dtype=np.int64),
        "tasks_B": np.zeros(rows, np.int64),
        "weights_B": np.ones(rows, np.float32),
        "propensities_B": rng.uniform(0.05, 1, rows).astype(np.float32),
        "positions_B": rng.integers(0, 20, rows).astype(np.int32),
        "times_B": np.zeros(rows, np.int64),
    }
    return TrainingBatch(**columns, now=1_000, cursor=(0,))
