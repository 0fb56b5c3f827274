"""FinalMLP against its equations, written out in NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError

from recsys.models import FinalMlp, build

Floats = npt.NDArray[np.float64]


def perceptron(weights: dict[str, Floats], name: str, input_BI: Floats) -> Floats:
    hidden_BH = np.maximum(input_BI @ weights[f"{name}.layers.0.weight"].T + weights[f"{name}.layers.0.bias"], 0)
    return np.maximum(hidden_BH @ weights[f"{name}.layers.1.weight"].T + weights[f"{name}.layers.1.bias"], 0)


@pytest.mark.parametrize("gates", [True, False])
def test_equals_the_equations(gates: bool) -> None:
    config = FinalMlp.Config(mlp=(7, 6), second_mlp=(5, 4), heads=2, gates=gates)
    model = build(config, n_sparse=3, n_numeric=0, dim=4, tasks=2, seed=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    embedded_BFD = torch.randn(5, 3, 4, generator=generator)

    weights = {name: value.numpy().astype(np.float64) for name, value in model.state_dict().items()}
    gates_2MD = 2 / (1 + np.exp(-weights["gates_2MD"])) if gates else np.ones((2, 3, 4))
    fields_BMD = embedded_BFD.numpy().astype(np.float64)
    first_BO = perceptron(weights, "first", (fields_BMD * gates_2MD[0]).reshape(5, 12))
    second_BP = perceptron(weights, "second", (fields_BMD * gates_2MD[1]).reshape(5, 12))
    expected_BT = first_BO @ weights["fusion.first.weight"].T + weights["fusion.first.bias"]
    expected_BT = expected_BT + second_BP @ weights["fusion.second.weight"].T
    for task in range(2):
        for head in range(2):
            product = weights["fusion.products"][head][:, 2 * task : 2 * task + 2]
            for row in range(5):
                first, second = first_BO[row, 3 * head : 3 * head + 3], second_BP[row, 2 * head : 2 * head + 2]
                expected_BT[row, task] += first @ product @ second

    with torch.inference_mode():
        logits_BT = model(embedded_BFD, torch.zeros(5, 0)).numpy()
    np.testing.assert_allclose(logits_BT, expected_BT, rtol=1e-4, atol=1e-4)


def test_outputs_that_heads_do_not_divide_are_refused() -> None:
    with pytest.raises(ValidationError, match="second_mlp"):
        FinalMlp.Config(second_mlp=(8, 6), heads=4)


def test_a_perceptron_without_layers_is_refused() -> None:
    with pytest.raises(ValidationError, match="mlp"):
        FinalMlp.Config(mlp=())
