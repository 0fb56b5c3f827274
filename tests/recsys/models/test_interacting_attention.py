"""The written-out gradient of the interacting layer against autograd's of the same operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recsys.models.autoint import InteractingLayer
from recsys.models.blocks.interacting_attention import InteractingAttention

FORMS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.fixture(params=FORMS, ids=["code", "code, no residual", "paper", "paper, no residual"])
def layer(request: pytest.FixtureRequest) -> InteractingLayer:
    code_form, residual = request.param
    torch.manual_seed(0)
    return InteractingLayer(5, 2, 3, code_form=code_form, residual=residual, dropout=0.0).double()


def arguments(layer: InteractingLayer) -> tuple[Any, ...]:
    fields_BMd = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    return fields_BMd, layer.projection.weight, layer.projection.bias, layer.heads, layer.parts, layer.scale


def test_the_gradient_is_that_of_finite_differences(layer: InteractingLayer) -> None:
    assert torch.autograd.gradcheck(InteractingAttention.apply, arguments(layer))


def test_it_is_what_the_operations_give_one_by_one(layer: InteractingLayer) -> None:
    fields_BMd = torch.randn(4, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(layer._by_hand(fields_BMd), layer._composed(fields_BMd))


def test_fields_that_need_no_gradient_get_none(layer: InteractingLayer) -> None:
    layer(torch.randn(4, 3, 5, dtype=torch.float64)).sum().backward()
    assert layer.projection.weight.grad is not None
