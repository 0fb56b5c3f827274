"""The form of the authors' code: its steps follow the derivatives of its losses, and it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy as bce

from recsys.debiasing import authors_form
from recsys.debiasing.authors_form import DR, IPS, AuthorsForm, fit_authors
from recsys.debiasing.feedback import Floats, Ints, SelfSelected
from recsys.evaluation.metrics import auc

USERS, ITEMS = 20, 16


@pytest.fixture(scope="module")
def seen() -> SelfSelected:
    """160 pairs, liked where the kinds of user and item agree; one in ten the other way."""
    rng = np.random.default_rng(0)
    pairs_N = rng.permutation(USERS * ITEMS)[:160]
    users_R, items_R = np.divmod(pairs_N, ITEMS)
    labels_R = ((users_R % 2 == items_R % 2) ^ (rng.random(160) < 0.1)).astype(np.float64)
    return SelfSelected(users_R, items_R, labels_R)


@pytest.mark.slow
@pytest.mark.parametrize("form", [IPS, DR])
def test_it_learns_what_users_like(form: AuthorsForm, seen: SelfSelected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authors_form, "BATCH", 32)
    monkeypatch.setattr(authors_form, "MOST", 200)
    logits_UI = fit_authors(form, seen, np.full(160, 2.0), (USERS, ITEMS), form.tries[0], seed=0)
    users_N, items_N = (grid.ravel() for grid in np.indices((USERS, ITEMS)))
    truth_N = (users_N % 2 == items_N % 2).astype(np.float64)
    assert auc(truth_N, logits_UI.ravel().astype(np.float64)) > 0.9


@pytest.mark.parametrize("form", [IPS, DR])
def test_steps_follow_the_derivatives_of_the_losses(
    form: AuthorsForm, seen: SelfSelected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The derivatives in the vectors that Adam is given, beside those that PyTorch finds of the stated losses."""
    fit = authors_form._BatchFit(form, seen, np.full(160, 2.0), (USERS, ITEMS), 0.0, seed=0)
    rows_S, drawn_T2 = np.arange(32), np.random.default_rng(1).integers(0, (USERS, ITEMS), (96, 2))
    given: list[list[Floats]] = []
    monkeypatch.setattr(authors_form._Product, "step", lambda model, *slopes: given.append(_products(model, slopes)))
    fit._learn(rows_S, drawn_T2)
    pairs_S2, labels_S = fit._pairs_R2[rows_S], torch.tensor(fit._labels_R[rows_S])
    weights_S = torch.tensor(fit._weighing(pairs_S2) * 2)
    users_UD, items_ID = (torch.tensor(one, requires_grad=True) for one in fit._predicted.vectors)

    def predicted(pairs_S2: Ints) -> torch.Tensor:
        return torch.sigmoid((users_UD[pairs_S2[:, 0]] * items_ID[pairs_S2[:, 1]]).sum(1))

    loss = (weights_S * bce(predicted(pairs_S2), labels_S, reduction="none")).mean()
    if form.doubly:
        imputed_S, imputed_T = (torch.tensor(fit._imputed(pairs)) for pairs in (pairs_S2, drawn_T2))
        loss = loss + bce(predicted(drawn_T2), imputed_T) - bce(predicted(pairs_S2), imputed_S)
    for found, expected in zip(given[0], torch.autograd.grad(loss, [users_UD, items_ID]), strict=True):
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-12)
    assert len(given) == 1 + form.doubly


def _products(model: Any, slopes: Any) -> list[Floats]:
    """Derivatives in the vectors of users and items."""
    users_UD, items_ID = model.vectors
    found = [np.zeros_like(users_UD), np.zeros_like(items_ID)]
    for pairs_S2, slope_S in slopes:
        for (user, item), slope in zip(pairs_S2, slope_S, strict=True):
            found[0][user] += slope * items_ID[item]
            found[1][item] += slope * users_UD[user]
    return found


def test_the_step_of_the_weights_brings_the_sum_of_the_gaps_nearer_to_zero(seen: SelfSelected) -> None:
    """Weights of half of what balances: the hinge raises them, where the entropy alone would not as much."""
    without = AuthorsForm(False, 1e-2, 5e-2, 0.0, 1e-2, (0.0,), gamma=0.0)
    heavy = AuthorsForm(False, 1e-2, 5e-2, 0.0, 1e-2, (0.0,), gamma=50.0)
    found = {}
    for form in (without, heavy):
        fit = authors_form._BatchFit(form, seen, np.full(160, 1.0), (USERS, ITEMS), 0.0, seed=0)
        for _ in range(100):
            fit._balance(np.arange(160), np.random.default_rng(1).integers(0, (USERS, ITEMS), (96, 2)))
        found[form.gamma] = abs(float(fit._weighing(fit._pairs_R2).mean()) - 1)  # kernel values are nearly 1
    assert found[50.0] < 0.1 < found[0.0]
