"""What the learner minimises. Shape suffix: B rows."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus


def log_loss(
    logits_B: torch.Tensor, labels_B: torch.Tensor, counted_B: torch.Tensor, weights_B: torch.Tensor
) -> torch.Tensor:
    r"""Mean weighted log loss (AutoInt, section 4.7) of shown items of which some come in two rows.

    mean over B of w (c softplus(z) - y z)

    With c = 1 that is the log loss of logit z and label y. An item learned as silent (c = 1, y = 0) that is clicked
    later has a second row with c = 0, y = 1: its gradient in z is -1, so that both rows together give p - y, the
    gradient of the log loss of the final label.

    >>> logits = torch.tensor([0.0])
    >>> one, zero = torch.ones(1), torch.zeros(1)
    >>> silent, correction = log_loss(logits, zero, one, one), log_loss(logits, one, zero, one)
    >>> bool(silent + correction == log_loss(logits, one, one, one))
    True
    """
    return (weights_B * (counted_B * softplus(logits_B) - labels_B * logits_B)).mean()
