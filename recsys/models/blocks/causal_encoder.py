"""A history as the state that self-attention leaves after its latest item, as in SASRec (Kang and McAuley, ICDM 2018,
arXiv 1808.09781).

Shape suffixes: B rows, L places of a history, Q places that ask, D embedding dimension.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = 2


class CausalEncoder(nn.Module):
    r"""The state of the latest item after `BLOCKS` blocks over a history's rows h_l, l = 1 the latest.

    x_l = h_l + p_l
    x_l <- x_l + sum_{m >= l} softmax_m(<W_q z_l, W_k z_m> / sqrt(D)) W_v z_m,    z = norm(x)
    x_l <- x_l + W_2 relu(W_1 norm(x_l) + b_1) + b_2

    p_l is a learned vector of the place, counted from the latest item, so that a history shorter than `length` has the
    vectors of its items. An item attends to itself and to older ones (m >= l). One head and two blocks, as in the
    paper's section 3; norms stand before each network on all of its inputs, and there is none after the last, so that
    the state has the scale of the rows. W_v and W_2 start at zero: the state is the latest item's row at first. Rows of
    zeros, of places without an item and of items without a row, are left out; a history without any other gives zeros.
    """

    def __init__(self, dim: int, length: int) -> None:
        super().__init__()
        self.places_LD = nn.Parameter(torch.randn(length, dim) * 0.01)
        self.blocks = nn.ModuleList(_Block(dim) for _ in range(BLOCKS))

    def forward(self, rows_BLD: Tensor) -> Tensor:
        """[B, D] of rows [B, L, D], the latest item first; L is at most `length`."""
        length = rows_BLD.shape[1]
        there_BL = rows_BLD.detach().abs().amax(-1) > 0
        older_LL = torch.ones(length, length, dtype=torch.bool).triu()
        states_BLD = rows_BLD + self.places_LD[:length]
        for block in self.blocks[:-1]:
            states_BLD = block(states_BLD, states_BLD, there_BL.unsqueeze(1) & older_LL)
        latest_BL = (there_BL & (there_BL.long().cumsum(1) == 1)).to(rows_BLD.dtype)
        latest_B1D = latest_BL.unsqueeze(1) @ states_BLD
        state_BD: Tensor = self.blocks[-1](latest_B1D, states_BLD, there_BL.unsqueeze(1)).squeeze(1)
        return state_BD * latest_BL.sum(1, keepdim=True)


class _Block(nn.Module):
    """Attention of some places to all, then a network of each place, both added to what they read."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention_norm, self.network_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.hidden, self.output = nn.Linear(dim, dim), nn.Linear(dim, dim)
        for layer in (self.query, self.key, self.hidden):
            nn.init.xavier_normal_(layer.weight)
        for layer in (self.value, self.output):
            nn.init.zeros_(layer.weight)
        for layer in (self.hidden, self.output):
            nn.init.zeros_(layer.bias)

    def forward(self, asking_BQD: Tensor, states_BLD: Tensor, seen_BQL: Tensor) -> Tensor:
        """`seen_BQL`: which states each of the asking places attends to."""
        normed_BLD = self.attention_norm(states_BLD)
        queries_BQD, keys_BLD = self.query(self.attention_norm(asking_BQD)), self.key(normed_BLD)
        scores_BQL = queries_BQD @ keys_BLD.transpose(1, 2) / math.sqrt(states_BLD.shape[-1])
        weights_BQL = torch.softmax(scores_BQL.masked_fill(~seen_BQL, -1e9), -1)
        # turned, because OpenVINO 2026 crashes where it finds the usual product of weights and values in a whole model
        read_BQD = (self.value(normed_BLD).transpose(1, 2) @ weights_BQL.transpose(1, 2)).transpose(1, 2)
        asking_BQD = asking_BQD + read_BQD
        added_BQD: Tensor = self.output(functional.relu(self.hidden(self.network_norm(asking_BQD))))
        return asking_BQD + added_BQD
