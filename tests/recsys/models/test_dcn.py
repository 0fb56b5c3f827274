"""DCN-V2 against its equations, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from recsys.models import CrossNetwork, build


@pytest.mark.parametrize("rank", [0, 3])
def test_equals_the_equations(rank: int) -> None:
    config = CrossNetwork.Config(layers=3, rank=rank, mlp=())
    model = build(config, n_sparse=2, n_numeric=1, dim=4, tasks=2, seed=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    embedded_BFD = torch.randn(5, 2, 4, generator=generator)
    numeric_BN = torch.randn(5, 1, generator=generator)

    weights = {name: value.numpy().astype(np.float64) for name, value in model.state_dict().items()}
    numbers_BND = numeric_BN.numpy()[:, :, None] * weights["numeric_ND"]
    start_BI = np.concatenate([embedded_BFD.numpy(), numbers_BND], 1).reshape(5, 12)
    crossed_BI = start_BI
    for layer in ("cross.0", "cross.1", "cross.2"):
        matrix = weights[f"{layer}.up.weight"]
        if rank:
            matrix = matrix @ weights[f"{layer}.down.weight"]
        assert matrix.shape == (12, 12)
        crossed_BI = start_BI * (crossed_BI @ matrix.T + weights[f"{layer}.up.bias"]) + crossed_BI
    expected_BT = crossed_BI @ weights["output.weight"].T + weights["output.bias"]

    with torch.inference_mode():
        np.testing.assert_allclose(model(embedded_BFD, numeric_BN).numpy(), expected_BT, rtol=1e-4, atol=1e-4)


def test_dropout_without_a_perceptron_is_refused() -> None:
    with pytest.raises(ValidationError, match="has no effect with mlp"):
        CrossNetwork.Config(mlp=(), mlp_dropout=0.1)
