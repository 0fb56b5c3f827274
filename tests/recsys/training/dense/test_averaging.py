"""The running mean of dense weights: equal to its recursion, less noisy than the weights, and kept by checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recsys import wiring
from recsys.config.file import parse
from recsys.training.dense.averaging import WARM_UP, AveragedModel
from recsys.training.learner import Learner
from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.feature_spec import FeatureSpec


def batches(spec: FeatureSpec, count: int, rows: int = 64) -> list[TrainingBatch]:
    """Random ids and labels."""
    rng, one = np.random.default_rng(3), np.ones(rows, np.float32)
    made = []
    for step in range(count):
        ids = {field.name: rng.integers(0, 50, rows).astype(np.uint64) for field in spec.sparse}
        made.append(
            TrainingBatch(
                ids={name: Jagged(values, np.ones(rows, np.int32)) for name, values in ids.items()},
                numeric_BN=np.zeros((rows, len(spec.numeric)), np.float32),
                labels_B=rng.integers(0, 2, rows).astype(np.float32),
                counted_B=one,
                keys_B=np.arange(rows) + step * rows,
                weights_B=one,
                propensities_B=one,
                positions_B=np.zeros(rows, np.int32),
                tasks_B=np.zeros(rows, np.int32),
                times_B=np.full(rows, step, np.int64),
                now=step,
                cursor=(step,),
            )
        )
    return made


def learner(averaging: float = 0.9) -> Learner:
    return wiring.learner(parse(f"[training]\naveraging = {averaging}\n", Path("recsys.toml")))


def weights(of: torch.nn.Module) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in of.parameters()]


@pytest.mark.slow
def test_the_mean_follows_its_recursion() -> None:
    learns, mean = learner(), None
    for steps, batch in enumerate(batches(learns.spec, 40), 1):
        learns.step(batch)
        d = 0.0 if mean is None else min(0.9, (1 + steps) / (WARM_UP + steps))
        now = weights(learns.model)
        mean = now if mean is None else [d * m + (1 - d) * w for m, w in zip(mean, now, strict=True)]
    for expected, got in zip(mean or [], weights(learns.served_model), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)
    assert any(not torch.equal(a, b) for a, b in zip(mean or [], weights(learns.model), strict=True))


def test_what_is_judged_is_what_score_gives() -> None:
    learns = learner()
    for batch in batches(learns.spec, 20):
        learns.step(batch)
    for batch in batches(learns.spec, 5):  # known ids: `score` reads no row that `step` would make
        before = learns.score(batch)
        np.testing.assert_array_equal(learns.step(batch), before)


def test_without_averaging_the_weights_themselves_score() -> None:
    learns = learner(0.0)
    assert learns.served_model is learns.model
    assert AveragedModel(learns.model, 0.0).state() == {}


def test_a_restored_learner_goes_on_alike(tmp_path: Path) -> None:
    first, second = learner(), learner()
    *begin, last = batches(first.spec, 6)
    for batch in begin:
        first.step(batch)
    first.save(tmp_path)
    second.load(tmp_path)
    assert second.digest() == first.digest()
    np.testing.assert_array_equal(second.step(last), first.step(last))
    assert second.digest() == first.digest()
