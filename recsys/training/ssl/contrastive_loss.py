"""Losses of item vectors that need no click. Shape suffixes: S items, E coordinates of a vector of length 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def nt_xent(first_SE: Tensor, second_SE: Tensor, keys_S: Tensor, temperature: float) -> Tensor:
    r"""Each item's two views against the second views of the others (Yao et al., CIKM 2021, eq. 3).

    -1/S sum_i log( exp(z_i . z'_i / t) / sum_j exp(z_i . z'_j / t) )

    An item that was drawn twice, by `keys_S`, is no negative of itself.
    """
    logits_SS = (first_SE @ second_SE.T / temperature).masked_fill(_others(keys_S), float("-inf"))
    return cross_entropy(logits_SS, torch.arange(len(keys_S)))


def spread_out(vectors_SE: Tensor, keys_S: Tensor) -> Tensor:
    r"""1/S sum_{i != j} (z_i . z_j)^2, over distinct items: small when they are orthogonal (Zhang et al., ICCV 2017).

    It is close to `nt_xent` of two equal views.
    """
    squares_SS = (vectors_SE @ vectors_SE.T).square()
    return squares_SS.masked_fill(keys_S[:, None] == keys_S, 0.0).sum() / len(keys_S)


def _others(keys_S: Tensor) -> Tensor:
    """[S, S]: whether column j is the item of row i, drawn another time."""
    same_SS = keys_S[:, None] == keys_S
    return same_SS.fill_diagonal_(False)
