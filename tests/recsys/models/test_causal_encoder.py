"""The encoder of a history in its order against the published formula, and what it promises of a history."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recsys.models.blocks.causal_encoder import CausalEncoder

DIM, LENGTH = 4, 5


@pytest.fixture
def encoder() -> CausalEncoder:
    """With every weight away from its initial value."""
    torch.manual_seed(0)
    made = CausalEncoder(DIM, LENGTH)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return made


def place_by_place(rows_LD: Tensor, places: list[int], made: CausalEncoder) -> Tensor:
    """The formula in plain loops, for the rows at some places, all of which are there."""
    states: list[Tensor] = list(rows_LD + made.places_LD[places])
    block: Any
    for block in made.blocks:
        attended = []
        for place, state_D in enumerate(states):
            older = [normed(one, block.attention_norm) for one in states[place:]]
            query_D = block.query.weight @ older[0]
            powers = [math.exp(float(query_D @ (block.key.weight @ one)) / math.sqrt(DIM)) for one in older]
            values = [p / sum(powers) * (block.value.weight @ one) for p, one in zip(powers, older, strict=True)]
            attended.append(state_D + torch.stack(values).sum(0))
        states.clear()
        for state_D in attended:
            hidden_D = functional.relu(block.hidden.weight @ normed(state_D, block.network_norm) + block.hidden.bias)
            states.append(state_D + block.output.weight @ hidden_D + block.output.bias)
    return states[0]


def normed(state_D: Tensor, norm: Any) -> Tensor:
    mean, variance = state_D.mean(), state_D.var(correction=0)
    scaled_D: Tensor = (state_D - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias
    return scaled_D


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 3, LENGTH])
def test_it_is_the_state_of_the_latest_item(length: int, encoder: CausalEncoder) -> None:
    rows_BLD = torch.randn(3, length, DIM)
    expected_BD = torch.stack([place_by_place(rows_LD, [*range(length)], encoder) for rows_LD in rows_BLD])
    torch.testing.assert_close(encoder(rows_BLD), expected_BD, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_order_matters_and_places_after_the_oldest_do_not(encoder: CausalEncoder) -> None:
    rows_BLD = torch.randn(3, 3, DIM)
    longer_BLD = torch.cat([rows_BLD, torch.zeros(3, 2, DIM)], 1)
    torch.testing.assert_close(encoder(longer_BLD), encoder(rows_BLD), rtol=1e-4, atol=1e-6)
    turned_BD = encoder(rows_BLD[:, [0, 2, 1]])
    assert float((turned_BD - encoder(rows_BLD)).abs().max()) > 0.01


@torch.no_grad()
def test_items_without_a_row_are_left_out(encoder: CausalEncoder) -> None:
    rows_BLD = torch.randn(2, 4, DIM)
    rows_BLD[:, [0, 2]] = 0
    expected_BD = torch.stack([place_by_place(rows_LD[[1, 3]], [1, 3], encoder) for rows_LD in rows_BLD])
    torch.testing.assert_close(encoder(rows_BLD), expected_BD, rtol=1e-4, atol=1e-5)
    assert encoder(torch.zeros(2, 4, DIM)).tolist() == [[0.0] * DIM] * 2


@torch.no_grad()
def test_at_first_it_is_the_latest_item() -> None:
    made, rows_BLD = CausalEncoder(DIM, LENGTH), torch.randn(3, 4, DIM)
    rows_BLD[0, 0] = 0
    latest_BD = torch.stack([rows_BLD[0, 1], rows_BLD[1, 0], rows_BLD[2, 0]])
    torch.testing.assert_close(made(rows_BLD), latest_BD, rtol=0, atol=0.1)


def test_gradients_are_those_of_finite_differences(encoder: CausalEncoder) -> None:
    made = encoder.double()
    rows_BLD = torch.randn(2, 3, DIM, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda rows, *weights: torch.func.functional_call(
            made, dict(zip(dict(made.named_parameters()), weights, strict=True)), (rows,)
        ),
        (rows_BLD, *made.parameters()),
    )
