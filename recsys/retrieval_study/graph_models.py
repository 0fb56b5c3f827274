"""Retrieval by graphs of users and items, as offline peers. Shape suffixes: U users, I items, N = U + I nodes, E likes
(edges), D dimension, B sampled likes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from recsys.datasets.ml1m_by_time import Bools, Ints
from recsys.retrieval_study.neighbours import Floats

BATCH = 65_536
"""Likes of a step: a step costs a pass over the whole graph, whatever their number."""
DIM, LR, L2 = 64, 0.02, 1e-4


class LightGcn(nn.Module):
    r"""Mean of the layers x^(k+1) = D^-1/2 A D^-1/2 x^k, k up to `layers` (He et al., SIGIR 2020).

    A is the adjacency of users and items, D has their degrees; what is learned are the vectors x^0.
    """

    def __init__(self, users_E: Tensor, items_E: Tensor, nodes: int, layers: int) -> None:
        super().__init__()
        self._layers = layers
        self.first_ND = nn.Parameter(torch.randn(nodes, DIM) * 0.1)
        self._ends_2E = torch.stack([torch.cat([users_E, items_E]), torch.cat([items_E, users_E])])
        degrees_N = torch.bincount(self._ends_2E[0], minlength=nodes).clamp(min=1).float()
        weights_E = (degrees_N[self._ends_2E[0]] * degrees_N[self._ends_2E[1]]).rsqrt()
        shape = nodes, nodes
        self._graph_NN = torch.sparse_coo_tensor(self._ends_2E, weights_E, shape, check_invariants=True).coalesce()

    def forward(self) -> Tensor:
        """Vectors [N, D]."""
        layers: list[Tensor] = [self.first_ND]
        for _ in range(self._layers):
            layers.append(torch.sparse.mm(self._graph_NN, layers[-1]))
        return torch.stack(layers).mean(0)


class Sheaf4Rec(nn.Module):
    r"""Mean of the layers x^(k+1) = x^k - L x^k W_k of a sheaf's diffusion (Purificato et al., 2023, arXiv 2304.09097).

    L = (D + 1)^-1/2 (D - M) (D + 1)^-1/2 with a scalar restriction map of each end of an edge, as in the authors' code,
    where the paper has matrices: m_v = tanh(a_k x_v + b_k x_w) and m_w alike. M_vw = m_v m_w, and D_vv is the sum of
    v's m^2. Maps are made anew in each layer.
    """

    def __init__(self, users_E: Tensor, items_E: Tensor, nodes: int, layers: int) -> None:
        super().__init__()
        self.first_ND = nn.Parameter(torch.randn(nodes, DIM) * 0.1)
        self.maps = nn.ParameterList(torch.randn(2, DIM) * 0.1 for _ in range(layers))
        self.mixes = nn.ParameterList(torch.eye(DIM) for _ in range(layers))
        self._users_E, self._items_E = users_E, items_E

    def forward(self) -> Tensor:
        """Vectors [N, D]."""
        layers: list[Tensor] = [self.first_ND]
        for maps_2D, mix_DD in zip(self.maps, self.mixes, strict=True):
            layers.append(layers[-1] - self._laplacian(layers[-1], layers[-1] @ maps_2D.T) @ mix_DD)
        return torch.stack(layers).mean(0)

    def _laplacian(self, x_ND: Tensor, ends_N2: Tensor) -> Tensor:
        """L x."""
        u_E, i_E = self._users_E, self._items_E
        user_E = torch.tanh(ends_N2[u_E, 0] + ends_N2[i_E, 1])
        item_E = torch.tanh(ends_N2[i_E, 0] + ends_N2[u_E, 1])
        sums_N = torch.zeros(len(x_ND)).index_add(0, u_E, user_E**2).index_add(0, i_E, item_E**2)
        scale_N = (sums_N + 1).rsqrt()
        weights_E1 = (user_E * item_E * scale_N[u_E] * scale_N[i_E])[:, None]
        moved_ND = torch.zeros_like(x_ND).index_add(0, u_E, weights_E1 * x_ND[i_E])
        moved_ND = moved_ND.index_add(0, i_E, weights_E1 * x_ND[u_E])
        return (sums_N * scale_N**2)[:, None] * x_ND - moved_ND


def graph_scores(
    make: type[LightGcn | Sheaf4Rec], liked_UI: Bools, users: Ints, *, layers: int, steps: int, seed: int
) -> Floats:
    """Products of vectors [U, I] of a model learned by BPR: -log sigmoid(x_u x_i - x_u x_j), j drawn uniformly.

    A penalty `L2` / 2 of the first vectors that are drawn keeps them short.
    """
    users_E, items_E = map(torch.from_numpy, np.nonzero(liked_UI))
    likes_2E = torch.stack([users_E, items_E + len(liked_UI)])
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = make(likes_2E[0], likes_2E[1], sum(liked_UI.shape), layers)
        optimizer = torch.optim.Adam(model.parameters(), lr=LR)
        for _ in range(steps):
            loss = _loss(model, likes_2E, first=len(liked_UI), items=liked_UI.shape[1])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.inference_mode():
            vectors_ND = model().numpy()
    return np.asarray(vectors_ND[users] @ vectors_ND[len(liked_UI) :].T)


def _loss(model: LightGcn | Sheaf4Rec, likes_2E: Tensor, *, first: int, items: int) -> Tensor:
    """Of `BATCH` likes that are drawn, each with one item; items are the nodes from `first` on."""
    drawn_2B = likes_2E[:, torch.randint(likes_2E.shape[1], (BATCH,))]
    nodes_3B = torch.cat([drawn_2B, torch.randint(items, (1, BATCH)) + first])
    user_BD, liked_BD, other_BD = model()[nodes_3B]
    ranking = softplus((user_BD * (other_BD - liked_BD)).sum(1)).mean()
    length = model.first_ND[nodes_3B].square().sum(2).mean(1).sum()
    return torch.as_tensor(ranking + L2 / 2 * length)
