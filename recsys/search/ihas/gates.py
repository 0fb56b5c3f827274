"""Gates drawn anew for each row of a batch: the search of iHAS.

Shape suffixes: B rows, F sparse fields, K coordinates of a row, T tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys.models.blocks.instance_gates import Gates, penalty
from recsys.search.supernet import Supernet
from streaming.encode.batch import TrainingBatch


def drawn(open_BFK: Tensor) -> Tensor:
    """Stochastic selection: z = 1 with probability pi, else 0; the gradient in pi is that in z (straight through).

    Draws from torch's global generator, as dropout does.
    """
    chosen_BFK = (torch.rand_like(open_BFK) < open_BFK).float()
    return open_BFK + (chosen_BFK - open_BFK).detach()


def chosen(open_BFK: Tensor) -> Tensor:
    """Deterministic selection: 1 where pi > 1/2, else 0."""
    return (open_BFK > 0.5).float()


class GatedNet(nn.Module):
    """A supernet whose fields pass gates: drawn in training, chosen in evaluation.

    The sparsity rises from 0 over the first `ramp` training batches, because closed gates learn nothing.
    """

    batches: Tensor
    """Of training so far."""

    def __init__(self, net: Supernet, gates: Gates, sparsity: float, polarization: float, ramp: int) -> None:
        super().__init__()
        self.net, self.gates = net, gates
        self._sparsity, self._polarization, self._ramp = sparsity, polarization, max(ramp, 1)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.penalty = torch.zeros(())
        """Of the last training batch."""

    def forward(self, batch: TrainingBatch) -> Tensor:
        """Logits [B, T]."""
        embedded_BFK = self.net.embedded(batch)
        open_BFK = self._opened(embedded_BFK)
        if not self.training:
            return self.net.logits(embedded_BFK * chosen(open_BFK), batch)
        self.batches += 1
        share = min(1.0, int(self.batches) / self._ramp)
        self.penalty = penalty(open_BFK, share * self._sparsity, self._polarization).mean()
        return self.net.logits(embedded_BFK * drawn(open_BFK), batch)

    def probabilities(self, batch: TrainingBatch) -> Tensor:
        """pi [B, F, K]."""
        return self._opened(self.net.embedded(batch))

    def _opened(self, embedded_BFK: Tensor) -> Tensor:
        """They read the rows as they are: no gradient goes back through them."""
        open_BFK: Tensor = self.gates(embedded_BFK.detach())
        return open_BFK
