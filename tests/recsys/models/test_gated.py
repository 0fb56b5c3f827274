"""Gates for each row: what the model reads, what they cost, and what it can learn by them alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys import wiring
from recsys.config.file import parse
from recsys.models import FactorizationMachine, GatedModel, build
from recsys.search.supernet_training import loss_of
from tests.recsys.training.test_learner import batch_of, dear_ones

PENALTIES = """
[features]
dim = 4
fields = [{ name = "user", source = "user" }, { name = "item", source = "item" }]
[model]
name = "gated"
sparsity = 1.0
[training]
averaging = 0.0
dense_lr = 0.03
"""


def test_its_logits_are_those_of_a_deepfm_over_gated_vectors() -> None:
    model = build(GatedModel.Config(mlp=(5,), gates=(6,)), n_sparse=2, n_numeric=1, dim=4, seed=3).eval()
    assert isinstance(model, GatedModel)
    embedded_BFD, numeric_BN = torch.randn(7, 2, 4), torch.randn(7, 1)
    assert model.numeric_ND is not None
    fields_BMD = torch.cat([embedded_BFD, numeric_BN[:, :, None] * model.numeric_ND], 1)
    weights = dict(model.gates.network.named_parameters())
    hidden_BH = (fields_BMD.flatten(1) @ weights["layers.0.weight"].T + weights["layers.0.bias"]).relu()
    outputs_BX = hidden_BH @ weights["layers.1.weight"].T + weights["layers.1.bias"]
    open_BMD = (1 / (1 + (-outputs_BX).exp())).view(7, 3, 4)
    plain = build(FactorizationMachine.Config(mlp=(5,)), n_sparse=3, n_numeric=0, dim=4)
    plain.load_state_dict(model.predictor.state_dict())
    expected_BT = plain(fields_BMD * open_BMD, torch.zeros(7, 0))
    torch.testing.assert_close(model(embedded_BFD, numeric_BN), expected_BT)
    assert float(open_BMD.detach().min()) > 0.5  # they begin open


def test_a_row_has_its_own_penalty_once_and_in_training_alone() -> None:
    model = build(GatedModel.Config(sparsity=0.3, polarization=2.0), n_sparse=2, n_numeric=0, dim=4, seed=3)
    assert isinstance(model, GatedModel)
    rows_BFD = torch.randn(5, 2, 4)
    model.train()(rows_BFD, torch.zeros(5, 0))
    open_BMD = model.gates(rows_BFD)
    expected_B = 0.3 * open_BMD.mean((1, 2)) + 2.0 * (open_BMD * (1 - open_BMD)).mean((1, 2))
    found_B = model.penalty()
    assert found_B is not None
    torch.testing.assert_close(found_B, expected_B)
    assert model.penalty() is None
    model.eval()(rows_BFD, torch.zeros(5, 0))
    assert model.penalty() is None


def test_the_penalty_is_learned_and_rows_without_weight_have_none() -> None:
    config = parse(PENALTIES, Path("recsys.toml"))
    batch = batch_of(config, *dear_ones(16, 1.0))

    def mean_gate(weight: float) -> float:
        """After 30 steps; labels of one half say what a new model does."""
        ones_B = np.ones(len(batch), np.float32)
        learner = wiring.learner(config)
        for _ in range(30):
            learner.step(replace(batch, labels_B=0.5 * ones_B, weights_B=weight * ones_B))
        assert isinstance(learner.model, GatedModel)
        return float(learner.model.gates(torch.zeros(1, 2, 4)).detach().mean())

    assert mean_gate(0.0) == pytest.approx(0.88, abs=0.01)
    assert mean_gate(1.0) < 0.8


def test_a_search_does_not_learn_them() -> None:
    with pytest.raises(ValueError, match=r"choose another \[model\] name"):
        loss_of(parse(PENALTIES, Path("recsys.toml")))
