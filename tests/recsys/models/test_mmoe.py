"""MMoE against its equations, written out in NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError

from recsys.models import MixtureOfExperts, build

Floats = npt.NDArray[np.float64]


def layer(weights: dict[str, Floats], name: str, input_BI: Floats) -> Floats:
    output_BO: Floats = input_BI @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return output_BO


@pytest.mark.parametrize("tower", [(), (5,)])
def test_equals_the_equations(tower: tuple[int, ...]) -> None:
    config = MixtureOfExperts.Config(experts=3, expert_mlp=(7, 6), tower_mlp=tower)
    model = build(config, n_sparse=3, n_numeric=0, dim=4, tasks=2, seed=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    embedded_BFD = torch.randn(5, 3, 4, generator=generator)

    weights = {name: value.numpy().astype(np.float64) for name, value in model.state_dict().items()}
    fields_BI = embedded_BFD.numpy().astype(np.float64).reshape(5, 12)
    experts = []
    for expert in range(3):
        hidden_BH = np.maximum(layer(weights, f"experts.{expert}.layers.0", fields_BI), 0)
        experts.append(np.maximum(layer(weights, f"experts.{expert}.layers.1", hidden_BH), 0))
    expected_BT = np.zeros((5, 2))
    gates_BG = layer(weights, "gates.layers.0", fields_BI)
    for task in range(2):
        for row in range(5):
            gate_K = np.exp(gates_BG[row, 3 * task : 3 * task + 3])
            mixed_O = sum(gate_K[expert] / gate_K.sum() * experts[expert][row] for expert in range(3))
            for number in range(len(tower)):
                mixed_O = np.maximum(layer(weights, f"towers.{task}.layers.{number}", mixed_O), 0)
            expected_BT[row, task] = layer(weights, f"towers.{task}.layers.{len(tower)}", mixed_O)[0]

    with torch.inference_mode():
        logits_BT = model(embedded_BFD, torch.zeros(5, 0)).numpy()
    np.testing.assert_allclose(logits_BT, expected_BT, rtol=1e-4, atol=1e-4)


def test_an_expert_without_layers_is_refused() -> None:
    with pytest.raises(ValidationError, match="expert_mlp"):
        MixtureOfExperts.Config(expert_mlp=())
