"""Normalised perceptrons: batch norm equals PyTorch's, and its running means are what is served and kept.

Shape suffixes: B rows, H hidden units.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys import wiring
from recsys.config.file import parse
from recsys.config.sections.learning.models import SMALLEST_BATCH
from recsys.errors import ConfigError
from recsys.models.blocks.batch_norm import BatchNorm
from recsys.models.blocks.perceptron import Perceptron
from recsys.training.learner import Learner
from streaming.encode.batch import TrainingBatch
from tests.recsys.training.dense.test_averaging import batches

BATCH = '[model]\nname = "fm"\nmlp_norm = "batch"\n[training]\naveraging = {averaging}\n'


def learner(averaging: float = 0.0) -> Learner:
    return wiring.learner(parse(BATCH.format(averaging=averaging), Path("recsys.toml")))


def statistics(model: torch.nn.Module) -> list[torch.Tensor]:
    return [buffer.clone() for buffer in model.buffers()]


def test_batch_norm_is_pytorchs() -> None:
    ours, theirs = BatchNorm(5), torch.nn.BatchNorm1d(5)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(own.copy_(torch.randn(5, generator=generator)))
    for training in (True, True, False):
        rows_BH = torch.randn(SMALLEST_BATCH, 5, generator=generator) * 3 + 1
        torch.testing.assert_close(ours.train(training)(rows_BH), theirs.train(training)(rows_BH))
    torch.testing.assert_close([ours.mean, ours.variance], [theirs.running_mean, theirs.running_var])


@pytest.mark.parametrize("rows", [0, 1, SMALLEST_BATCH - 1])
def test_a_short_batch_is_normalised_by_the_running_means_and_leaves_them(rows: int) -> None:
    norm, before = BatchNorm(3), statistics(BatchNorm(3))
    rows_BH = torch.randn(rows, 3)
    torch.testing.assert_close(norm.train()(rows_BH), norm.eval()(rows_BH))
    assert all(torch.equal(a, b) for a, b in zip(norm.buffers(), before, strict=True))


def test_hidden_layers_are_normalised_before_the_relu_and_rectified_outputs_too() -> None:
    network = Perceptron(2, 3, (8, 4), outputs=6, norm="layer", rectified=True)
    rows = torch.randn(5, 2, 3)
    hidden = rows.flatten(1)
    for layer, norm in zip(network.layers, network.norms, strict=True):
        hidden = norm(layer(hidden if layer is network.layers[0] else hidden.relu()))
    torch.testing.assert_close(network(rows), hidden)
    torch.testing.assert_close(hidden.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    plain = Perceptron(2, 3, (8, 4), outputs=6, norm="layer")
    assert float(plain(rows).mean(1).detach().abs().max()) > 1e-3


def test_what_is_scored_and_averaged_has_the_running_means() -> None:
    learns = learner(averaging=0.9)
    for batch in batches(learns.spec, 3):
        learns.step(batch)
    served, learned = statistics(learns.served_model), statistics(learns.model)
    assert all(torch.equal(a, b) for a, b in zip(served, learned, strict=True))
    assert not torch.equal(learned[0], torch.zeros_like(learned[0]))
    score_B = learns.score(batch)
    np.testing.assert_allclose(learns.score(batch.take(np.arange(1))), score_B[:1], rtol=1e-5)


def test_without_averaging_the_scores_of_a_step_are_those_of_evaluation() -> None:
    """Of the weights before the step, by the running means, not by those of the batch."""
    learns, other = learner(), learner()
    first, second = batches(learns.spec, 2)
    for one in (learns, other):
        one.step(first)
    scored_B = learns.step(second)
    unscored_B = other.step(second, scored=False)
    assert np.abs(scored_B - unscored_B).max() > 1e-3


def test_a_batch_with_an_unsound_row_leaves_the_running_means() -> None:
    learns = learner()
    first, second = batches(learns.spec, 2)
    learns.step(first)
    before = statistics(learns.model)
    learns.step(replace(second, weights_B=_with_nan(second)))
    assert sum(learns.left_out.values()) > 0
    assert all(torch.equal(a, b) for a, b in zip(learns.model.buffers(), before, strict=True))
    assert all(torch.isfinite(weight).all() for weight in learns.model.parameters())
    learns.step(second)
    assert not torch.equal(next(iter(learns.model.buffers())), before[0])


def _with_nan(batch: TrainingBatch) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    weights_B = batch.weights_B.copy()
    weights_B[3] = np.nan
    return weights_B


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[training]\nworkers = 2", "model.mlp_norm: needs training.workers = 1"),
        ("[training]\nbatch_size = 15", "model.mlp_norm: needs training.batch_size of at least 16"),
        ("mlp = []", "model.mlp_norm: has no effect with mlp = "),
    ],
)
def test_batch_norm_is_refused_where_it_could_not_work(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse(f'[model]\nname = "fm"\nmlp_norm = "batch"\n{text}\n', Path("recsys.toml"))


def test_a_checkpoint_of_before_the_option_is_of_the_same_model() -> None:
    options = wiring.learner(parse('[model]\nname = "fm"\n', Path("recsys.toml"))).description.options
    assert "mlp_norm" not in options
    assert learner().description.options["mlp_norm"] == "batch"
