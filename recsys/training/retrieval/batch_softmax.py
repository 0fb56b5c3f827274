"""The two-tower model's loss. Shape suffixes: P clicked rows, D distinct candidates, E coordinates of a vector."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy


def batch_softmax(
    users_PE: Tensor, items_DE: Tensor, clicked_P: Tensor, expected_D: Tensor, weights_P: Tensor, temperature: float
) -> Tensor:
    r"""Softmax over the clicked items of the batch and drawn ones, corrected for how these were chosen.

    sum_i w_i (log sum_j exp z_ij - z_ic(i)) / P with z_ij = u_i . v_j / temperature - log q_j

    Row i clicked candidate c(i), `clicked_P`. Candidates are distinct, and `expected_D` is q, how likely each is to be
    one (Yi et al., RecSys 2019: without it popular items, which are in many batches, are pushed away most). An item
    that came several times would count as often in the sum, which its q, at most 1, could not make good.
    """
    logits_PD = users_PE @ items_DE.T / temperature - expected_D.log()
    losses_P = cross_entropy(logits_PD, clicked_P, reduction="none")
    return (weights_P * losses_P).sum() / len(users_PE)
