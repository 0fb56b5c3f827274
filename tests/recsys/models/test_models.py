"""What every model in the registry promises."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch.nn import functional

from recsys.config.sections.learning.models import SECTIONS
from recsys.config.sections.section import Section
from recsys.models import MODELS, AutoInt, FactorizationMachine, LogisticRegression, RankingModel, build
from tests.recsys.models.variants import VARIANTS

SHAPES = [(3, 2), (1, 0), (0, 1), (5, 0), (0, 3)]


@pytest.fixture(params=VARIANTS, ids=lambda variant: " ".join(variant))
def config(request: pytest.FixtureRequest) -> Section:
    name, *norm = cast(tuple[str, ...], request.param)
    return SECTIONS[name].model_validate({"mlp_norm": norm[0]} if norm else {})


def test_every_section_of_the_configuration_has_its_model() -> None:
    assert {kind.Config for kind in MODELS} == set(SECTIONS.values())


def rows(model: RankingModel, batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embedded_BFD = torch.randn(batch, model.n_sparse, model.dim, generator=generator)
    return embedded_BFD, torch.randn(batch, model.n_numeric, generator=generator)


def assert_equal(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("n_sparse", "n_numeric"), SHAPES)
@pytest.mark.parametrize("batch", [0, 1, 4])
@pytest.mark.parametrize("tasks", [1, 3])
def test_one_logit_per_row_and_task(config: Section, n_sparse: int, n_numeric: int, batch: int, tasks: int) -> None:
    model = build(config, n_sparse=n_sparse, n_numeric=n_numeric, dim=4, tasks=tasks).eval()
    assert model(*rows(model, batch)).shape == (batch, tasks)


def test_rows_do_not_see_each_other(config: Section) -> None:
    model = build(config, n_sparse=3, n_numeric=2, dim=4).eval()
    embedded_BFD, numeric_BN = rows(model, 8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    together = model(embedded_BFD, numeric_BN)
    assert_equal(model(embedded_BFD[order], numeric_BN[order]), together[order])
    assert_equal(model(embedded_BFD[2:3], numeric_BN[2:3]), together[2:3])


def test_evaluation_is_deterministic(config: Section) -> None:
    model = build(config, n_sparse=3, n_numeric=2, dim=4).eval()
    assert torch.equal(model(*rows(model, 4)), model(*rows(model, 4)))


def test_initial_weights_follow_from_the_seed_alone(config: Section) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = build(config, n_sparse=3, n_numeric=2, dim=4, seed=7)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = (build(config, n_sparse=3, n_numeric=2, dim=4, seed=seed) for seed in (7, 8))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_every_parameter_and_row_gets_a_gradient(config: Section) -> None:
    model = build(config, n_sparse=3, n_numeric=2, dim=8, tasks=2, seed=1)
    embedded_BFD, numeric_BN = rows(model, 64)
    embedded_BFD.requires_grad_()
    labels_BT = torch.arange(128.0).reshape(64, 2) % 3 % 2
    loss = functional.binary_cross_entropy_with_logits(model(embedded_BFD, numeric_BN), labels_BT)
    torch.autograd.backward(loss)
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name
    assert embedded_BFD.grad is not None
    assert (embedded_BFD.grad.abs().sum((1, 2)) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("n_request", [0, 1, 2, 3])
@pytest.mark.parametrize("n_request_numeric", [0, 1, 2])
@pytest.mark.parametrize("candidates", [0, 1, 5])
def test_split_scoring_equals_scoring_whole_rows(
    config: Section, n_request: int, n_request_numeric: int, candidates: int
) -> None:
    model = build(config, n_sparse=3, n_numeric=2, dim=4, tasks=2).eval()
    request_1FD, item_CFD = torch.randn(1, n_request, 4), torch.randn(candidates, 3 - n_request, 4)
    request_1N, item_CN = torch.randn(1, n_request_numeric), torch.randn(candidates, 2 - n_request_numeric)
    embedded_CFD = torch.cat([request_1FD.expand(candidates, -1, -1), item_CFD], 1)
    numeric_CN = torch.cat([request_1N.expand(candidates, -1), item_CN], 1)
    split_CT = model.forward_split(request_1FD, item_CFD, request_1N, item_CN)
    assert_equal(split_CT, model(embedded_CFD, numeric_CN))


def test_split_scoring_knows_every_option_of_autoint() -> None:
    for form in ("paper", "code"):
        config = AutoInt.Config(form=form, layers=2, units=8, residual=False, mlp=(7,), wide=True)
        model = build(config, n_sparse=4, n_numeric=0, dim=4, tasks=2).eval()
        embedded_CFD, numeric_CN = rows(model, 5)
        embedded_CFD[:, :3] = embedded_CFD[:1, :3]
        split_CT = model.forward_split(embedded_CFD[:1, :3], embedded_CFD[:, 3:], numeric_CN[:1], numeric_CN)
        assert_equal(split_CT, model(embedded_CFD, numeric_CN))


@pytest.mark.slow
def test_learns_an_interaction_that_no_field_shows_alone(config: Section) -> None:
    """Exclusive or of two binary fields: a linear model stays at a log loss of log 2."""
    model = build(config, n_sparse=2, n_numeric=0, dim=8, seed=2)
    table = torch.nn.Parameter(0.1 * torch.randn(4, 8, generator=torch.Generator().manual_seed(2)))
    optimizer = torch.optim.Adam([*model.parameters(), table], lr=0.01)
    ids_BF = torch.tensor([[0, 2], [0, 3], [1, 2], [1, 3]])
    labels_B = torch.tensor([0.0, 1.0, 1.0, 0.0])
    for _ in range(300):
        loss = functional.binary_cross_entropy_with_logits(model(table[ids_BF], torch.zeros(4, 0))[:, 0], labels_B)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    reached = float(loss.detach())
    if isinstance(model, LogisticRegression):
        assert reached == pytest.approx(math.log(2), abs=1e-3)
    else:
        assert reached < 0.05


@pytest.mark.slow
def test_tasks_that_contradict_each_other_are_learned_side_by_side(config: Section) -> None:
    model = build(config, n_sparse=1, n_numeric=0, dim=8, tasks=2, seed=2)
    table = torch.nn.Parameter(0.1 * torch.randn(2, 8, generator=torch.Generator().manual_seed(2)))
    optimizer = torch.optim.Adam([*model.parameters(), table], lr=0.03)
    labels_BT = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    for _ in range(300):
        logits_BT = model(table[torch.tensor([[0], [1]])], torch.zeros(2, 0))
        loss = functional.binary_cross_entropy_with_logits(logits_BT, labels_BT)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert float(loss.detach()) < 0.05


def test_a_model_that_cannot_tell_tasks_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="ranks alike for all tasks: give it an mlp"):
        build(FactorizationMachine.Config(mlp=()), n_sparse=2, n_numeric=0, dim=4, tasks=2)


def test_no_task_at_all_is_refused(config: Section) -> None:
    with pytest.raises(ValueError, match="at least one task"):
        build(config, n_sparse=1, n_numeric=0, dim=4, tasks=0)


def test_rows_too_short_for_the_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="a row holds one weight a task: the dimension must be at least 3, not 2"):
        build(LogisticRegression.Config(), n_sparse=2, n_numeric=0, dim=2, tasks=3)


def test_the_parts_of_fields_are_named_for_every_parameter_that_grows_with_them(config: Section) -> None:
    """A migration to other fields carries exactly these; parameters of one shape whatever the fields are kept whole."""
    narrow, wide = (build(config, n_sparse=fields, n_numeric=fields, dim=4) for fields in (2, 3))
    for name, parameter in wide.named_parameters():
        before = narrow.get_parameter(name).shape
        axes = wide.by_field()[name].axes if name in wide.by_field() else ()
        assert tuple(a for a in range(parameter.dim()) if before[a] != parameter.shape[a]) == axes, name
        for axis in axes:
            assert parameter.shape[axis] * 2 == before[axis] * 3, name


def test_no_field_at_all_is_refused(config: Section) -> None:
    with pytest.raises(ValueError, match="at least one field"):
        build(config, n_sparse=0, n_numeric=0, dim=4)


def test_options_of_no_model_are_refused() -> None:
    with pytest.raises(ValueError, match="Section belongs to no model; choose one of AutoIntConfig, Factorization"):
        build(Section(), n_sparse=1, n_numeric=0, dim=4)
