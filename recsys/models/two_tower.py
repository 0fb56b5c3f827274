"""Two towers: one vector for a user with a context, one for an item; their cosine says how well they fit.

Shape suffixes: B rows, F sparse fields, D embedding dimension, N numeric fields, E coordinates of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

SMALLEST_NORM = 1e-12
"""A shorter vector is divided by this instead of its length."""


@dataclass(frozen=True, slots=True)
class TowerInput:
    """What a tower reads: the number of its sparse and of its numeric fields."""

    sparse: int
    numeric: int


class Tower(nn.Module):
    """v = normalize(W_L relu(... relu(W_1 [e_1, ..., e_F, x] + b_1)) + b_L), for pooled rows e and numbers x.

    An id without a row reads zeros, so a user or an item that was never clicked has the vector of its features.
    """

    def __init__(self, reads: TowerInput, dim: int, hidden: Sequence[int], size: int) -> None:
        super().__init__()
        self.reads, self.dim = reads, dim
        sizes = [reads.sparse * dim + reads.numeric, *hidden, size]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))

    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        """Vectors [B, E] of length 1."""
        x_BH = torch.cat([embedded_BFD.flatten(1), numeric_BN], 1)
        for layer in self.layers[:-1]:
            x_BH = relu(layer(x_BH))
        return normalize(self.layers[-1](x_BH), dim=1, eps=SMALLEST_NORM)


class TwoTower(nn.Module):
    """The towers `user` and `item` (Yi et al., RecSys 2019). Initial weights depend on the arguments alone."""

    def __init__(
        self, user: TowerInput, item: TowerInput, *, dim: int, hidden: Sequence[int], size: int, seed: int
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.user = Tower(user, dim, hidden, size)
            self.item = Tower(item, dim, hidden, size)
