"""Pooling by attention against the published formula, what it promises of a history, and in every model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recsys.config.sections.section import Section
from recsys.models import MODELS, build
from recsys.models.blocks.target_attention import HIDDEN, TargetAttention
from streaming.encode.feature_spec import PooledHistory

DIM = 4
HISTORIES = PooledHistory("seen", 0, None, 4), PooledHistory("read", 1, 3, 5), PooledHistory("bought", 2, 4, 2)


def attention(seed: int = 0) -> TargetAttention:
    """With every weight away from its initial value."""
    torch.manual_seed(seed)
    made = TargetAttention(DIM)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return made


def one_by_one(rows_LD: Tensor, candidate_D: Tensor, weight_HX: Tensor, made: TargetAttention) -> Tensor:
    """The activation unit over (candidate, item, candidate - item, candidate * item) of DIN's code, in plain loops."""
    scores = []
    for row_D in rows_LD:
        inputs_X = torch.cat([candidate_D, row_D, candidate_D - row_D, candidate_D * row_D])
        hidden = [max(float(w @ inputs_X + b), 0) for w, b in zip(weight_HX, made.history.bias, strict=True)]
        scores.append(sum(h * float(w) for h, w in zip(hidden, made.output.weight[0], strict=True)) / math.sqrt(DIM))
    powers = [math.exp(score) for score in scores]
    return sum((p / sum(powers) * row_D for p, row_D in zip(powers, rows_LD, strict=True)), torch.zeros(DIM))


@torch.no_grad()
def test_it_is_the_activation_unit_over_the_difference_and_the_product() -> None:
    made = attention()
    of_candidate, of_item, of_difference, of_product = torch.randn(4, HIDDEN, DIM)
    made.candidate.weight.copy_(of_candidate + of_difference)
    made.history.weight.copy_(of_item - of_difference)
    made.product.weight.copy_(of_product)
    weight_HX = torch.cat([of_candidate, of_item, of_difference, of_product], 1)
    candidates_BD, rows_BLD = torch.randn(3, DIM), torch.randn(3, 5, DIM)
    expected = [one_by_one(rows, c, weight_HX, made) for rows, c in zip(rows_BLD, candidates_BD, strict=True)]
    torch.testing.assert_close(made(candidates_BD, rows_BLD), torch.stack(expected), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_places_without_a_row_and_the_order_do_not_matter() -> None:
    made, candidates_BD, rows_BLD = attention(), torch.randn(3, DIM), torch.randn(3, 4, DIM)
    longer_BLD = torch.cat([torch.zeros(3, 2, DIM), rows_BLD.flip(1), torch.zeros(3, 1, DIM)], 1)
    torch.testing.assert_close(made(candidates_BD, longer_BLD), made(candidates_BD, rows_BLD), rtol=1e-4, atol=1e-6)
    assert made(candidates_BD, torch.zeros(3, 4, DIM)).tolist() == [[0.0] * DIM] * 3
    torch.testing.assert_close(made(candidates_BD, rows_BLD[:, :1]), rows_BLD[:, 0])


@torch.no_grad()
def test_each_candidate_attends_for_itself() -> None:
    made, candidates_CD, rows_1LD = attention(), torch.randn(6, DIM), torch.randn(1, 5, DIM)
    pooled_CD = made(candidates_CD, rows_1LD)
    torch.testing.assert_close(made(candidates_CD, rows_1LD.expand(6, -1, -1)), pooled_CD, rtol=1e-4, atol=1e-6)
    assert float((pooled_CD - pooled_CD.mean(0)).abs().max()) > 0.01


def test_gradients_are_those_of_finite_differences() -> None:
    made = attention().double()
    candidates_BD = torch.randn(2, DIM, dtype=torch.double, requires_grad=True)
    rows_BLD = torch.randn(2, 3, DIM, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda candidates, rows, *weights: torch.func.functional_call(
            made, dict(zip(dict(made.named_parameters()), weights, strict=True)), (candidates, rows)
        ),
        (candidates_BD, rows_BLD, *made.parameters()),
    )


@pytest.fixture(params=MODELS, ids=lambda kind: kind.__name__)
def config(request: pytest.FixtureRequest) -> Section:
    section: Section = request.param.Config()
    return section


@torch.no_grad()
def test_every_model_scores_candidates_of_one_request_as_whole_rows(config: Section) -> None:
    model = build(config, n_sparse=5, n_numeric=1, dim=DIM, tasks=2, histories=HISTORIES).eval()
    request_1FD, item_CFD = torch.randn(1, 3, DIM), torch.randn(5, 2, DIM)
    request_1N, item_CN = torch.randn(1, 1), torch.randn(5, 0)
    histories = torch.randn(1, 4, DIM), torch.randn(1, 5, DIM), torch.randn(1, 2, DIM)
    whole_CFD = torch.cat([request_1FD.expand(5, -1, -1), item_CFD], 1)
    attended_CFD = model.attended(whole_CFD, [rows.expand(5, -1, -1) for rows in histories])
    split = model.attended_split(request_1FD, item_CFD, histories)
    assert [part.shape[1] for part in split] == [1, 4]
    expected_CT = model(attended_CFD, request_1N.expand(5, -1))
    torch.testing.assert_close(model.forward_split(*split, request_1N, item_CN), expected_CT, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attended_CFD[:, 3:], whole_CFD[:, 3:])


def test_what_a_model_pools_adds_weights_and_leaves_the_others_as_they_are(config: Section) -> None:
    plain, pooling = (
        build(config, n_sparse=5, n_numeric=1, dim=DIM, seed=3, histories=histories) for histories in ((), HISTORIES)
    )
    weights = dict(pooling.named_parameters())
    for name, parameter in plain.named_parameters():
        assert torch.equal(weights.pop(name), parameter), name
    assert {name.split(".")[1] for name in weights} == {"of_seen", "of_read", "of_bought"}
    embedded_BFD = torch.randn(8, 5, DIM)
    rows = [torch.randn(8, length, DIM, requires_grad=True) for length in (2, 3, 1)]
    torch.autograd.backward(pooling(pooling.attended(embedded_BFD, rows), torch.randn(8, 1)).square().sum())
    assert all((row.grad is not None and row.grad.abs().sum() > 0) for row in rows)
    assert all(weight.grad is not None for weight in weights.values())
