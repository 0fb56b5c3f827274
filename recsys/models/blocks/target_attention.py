"""Pooling a history by its attention for a candidate, as in DIN (Zhou et al., KDD 2018, arXiv 1706.06978).

Shape suffixes: B rows, L places of a history, D embedding dimension, H hidden units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 32


class TargetAttention(nn.Module):
    r"""The weighted mean of a history's rows h_l by what each has to say of the candidate's row c.

    out = sum_l softmax_l(a(h_l, c) / sqrt(D)) h_l,    a(h, c) = w^T relu(W_h h + W_c c + W_p (h * c) + b)

    The activation unit a is DIN's over h, c, their difference and product (the official code's; section 4.3), with one
    hidden layer: of a linear layer over the difference, W_d (h - c), the parts go into W_h and W_c. The softmax over
    scaled scores is the code's; the paper's equation 3 leaves the weights as they are. Rows of zeros, of places without
    an item and of items without a row, have no weight; a history without any other gives zeros.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.history = nn.Linear(dim, HIDDEN)
        self.candidate = nn.Linear(dim, HIDDEN, bias=False)
        self.product = nn.Linear(dim, HIDDEN, bias=False)
        self.output = nn.Linear(HIDDEN, 1, bias=False)
        for layer in (self.history, self.candidate, self.product):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (3 * dim + HIDDEN)))
        nn.init.normal_(self.output.weight, std=math.sqrt(2 / (HIDDEN + 1)))
        nn.init.zeros_(self.history.bias)

    def forward(self, candidates_BD: Tensor, rows_BLD: Tensor) -> Tensor:
        """[B, D] of B candidates; `rows_BLD` [1, L, D] is one history for all of them."""
        products_BLD = candidates_BD.unsqueeze(1) * rows_BLD
        hidden_BLH = self.history(rows_BLD) + self.candidate(candidates_BD).unsqueeze(1) + self.product(products_BLD)
        scores_BL = self.output(functional.relu(hidden_BLH)).squeeze(-1) / math.sqrt(rows_BLD.shape[-1])
        empty_BL = rows_BLD.detach().abs().amax(-1) == 0
        weights_BL = torch.softmax(scores_BL.masked_fill(empty_BL, -1e9), -1)
        pooled_BD: Tensor = (weights_BL.unsqueeze(1) @ rows_BLD).squeeze(1)
        return pooled_BD
