"""LightGCN and Sheaf4Rec against their definitions with dense matrices, and what they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.datasets.ml1m_by_time import RatedItems
from recsys.retrieval_study import graph_models
from recsys.retrieval_study.graph_models import LightGcn, Sheaf4Rec, graph_scores
from recsys.retrieval_study.judging import best, recall

USERS, ITEMS = np.array([0, 0, 1, 2, 2]), np.array([3, 4, 4, 3, 5])
"""The ends of likes in a graph of three users and three items."""


def made(make: type[LightGcn | Sheaf4Rec], layers: int) -> LightGcn | Sheaf4Rec:
    torch.manual_seed(0)
    return make(torch.from_numpy(USERS), torch.from_numpy(ITEMS), 6, layers)


def test_lightgcn_is_the_mean_of_its_layers() -> None:
    model = made(LightGcn, 2)
    adjacency_NN = np.zeros((6, 6))
    adjacency_NN[USERS, ITEMS] = adjacency_NN[ITEMS, USERS] = 1
    scale_N = adjacency_NN.sum(1) ** -0.5
    graph_NN = scale_N[:, None] * adjacency_NN * scale_N
    first_ND = model.first_ND.detach().numpy()
    expected_ND = (first_ND + graph_NN @ first_ND + graph_NN @ graph_NN @ first_ND) / 3
    np.testing.assert_allclose(model().detach().numpy(), expected_ND, atol=1e-6)


def test_sheaf4rec_diffuses_by_the_laplacian_of_its_maps() -> None:
    model = made(Sheaf4Rec, 1)
    assert isinstance(model, Sheaf4Rec)
    first_ND = model.first_ND.detach().numpy().astype(np.float64)
    own_D, other_D = model.maps[0].detach().numpy().astype(np.float64)
    border_EN = np.zeros((len(USERS), 6))  # of each like, the difference of what the maps make of its ends
    for edge, (u, i) in enumerate(zip(USERS, ITEMS, strict=True)):
        border_EN[edge, u] = np.tanh(own_D @ first_ND[u] + other_D @ first_ND[i])
        border_EN[edge, i] = -np.tanh(own_D @ first_ND[i] + other_D @ first_ND[u])
    laplacian_NN = border_EN.T @ border_EN
    scale_N = (np.diag(laplacian_NN) + 1) ** -0.5
    moved_ND = first_ND - scale_N[:, None] * laplacian_NN * scale_N @ first_ND
    np.testing.assert_allclose(model().detach().numpy(), (first_ND + moved_ND) / 2, atol=1e-6)


@pytest.mark.parametrize("make", [LightGcn, Sheaf4Rec])
def test_they_learn_what_users_like_and_a_seed_decides_them(
    make: type[LightGcn | Sheaf4Rec], rated: RatedItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_models, "BATCH", 512)
    users = np.flatnonzero(rated.later_UI.any(1))
    found = [graph_scores(make, rated.liked_UI, users, layers=1, steps=steps, seed=1) for steps in (0, 60, 60)]
    before, after = (recall(best(one, rated.rated_UI[users], 5), rated.later_UI[users]) for one in found[:2])
    assert after > before + 0.05
    np.testing.assert_array_equal(found[1], found[2])
