"""The two-tower model's loss. Shape suffixes: P clicked rows, S drawn items, C = P + S, E coordinates of a vector."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def batch_softmax(
    users_PE: Tensor, items_CE: Tensor, keys_C: Tensor, expected_C: Tensor, weights_P: Tensor, temperature: float
) -> Tensor:
    r"""Softmax over the clicked items of the batch and drawn ones, corrected for how these were chosen.

    sum_i w_i (log sum_j exp z_ij - z_ii) / P with z_ij = u_i . v_j / temperature - log q_j

    Row i clicked item i. `expected_C` is q, how often an item is among the candidates (Yi et al., RecSys 2019: without
    it popular items, which are in many batches, are pushed away most). Another candidate with the key of row i's own
    item is left out of its sum: it is no negative.
    """
    logits_PC = users_PE @ items_CE.T / temperature - expected_C.log()
    rows = len(users_PE)
    same_PC = keys_C[:rows, None] == keys_C
    same_PC.fill_diagonal_(False)
    logits_PC = logits_PC.masked_fill(same_PC, float("-inf"))
    losses_P = cross_entropy(logits_PC, torch.arange(rows), reduction="none")
    return (weights_P * losses_P).sum() / rows
