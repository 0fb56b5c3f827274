"""Gates on the coordinates of the fields, drawn anew for each row of a batch.

iHAS: Instance-wise Hierarchical Architecture Search (Yu, Qi, Yang, Jiang, Niu, CIKM 2023, arXiv 2309.07967). Its code
and its body are not public: the stages are those of its abstract, the equations a reconstruction.

Shape suffixes: B rows, F sparse fields, K coordinates of a row, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recsys.models.blocks.perceptron import Perceptron
from recsys.search.supernet import Supernet
from streaming.encode.batch import TrainingBatch

_OPEN = 2.0
"""Initial bias of the gates: they begin open with probability 0.88, so that rows have something to learn."""


class Gates(nn.Module):
    """pi = sigmoid(perceptron(all e_f)): the probability that each coordinate of each field is kept, [B, F, K].

    The gates read the rows as they are: no gradient goes back through them.
    """

    def __init__(self, fields: int, dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.network = Perceptron(fields, dim, hidden, outputs=fields * dim)
        last = self.network.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, _OPEN)

    def forward(self, embedded_BFK: Tensor) -> Tensor:
        return torch.sigmoid(self.network(embedded_BFK.detach())).view(embedded_BFK.shape)


def drawn(open_BFK: Tensor) -> Tensor:
    """Stochastic selection: z = 1 with probability pi, else 0; the gradient in pi is that in z (straight through).

    Draws from torch's global generator, as dropout does.
    """
    chosen_BFK = (torch.rand_like(open_BFK) < open_BFK).float()
    return open_BFK + (chosen_BFK - open_BFK).detach()


def chosen(open_BFK: Tensor) -> Tensor:
    """Deterministic selection: 1 where pi > 1/2, else 0."""
    return (open_BFK > 0.5).float()


def penalty(open_BFK: Tensor, sparsity: float, polarization: float) -> Tensor:
    """sparsity mean(pi) + polarization mean(pi (1 - pi)): few open gates, each certain of itself.

    >>> round(float(penalty(torch.tensor([[[0.5, 1.0]]]), sparsity=0.1, polarization=1.0)), 3)
    0.2
    """
    return sparsity * open_BFK.mean() + polarization * (open_BFK * (1 - open_BFK)).mean()


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
        open_BFK = self.gates(embedded_BFK)
        if not self.training:
            return self.net.logits(embedded_BFK * chosen(open_BFK), batch)
        self.batches += 1
        share = min(1.0, int(self.batches) / self._ramp)
        self.penalty = penalty(open_BFK, share * self._sparsity, self._polarization)
        return self.net.logits(embedded_BFK * drawn(open_BFK), batch)

    def probabilities(self, batch: TrainingBatch) -> Tensor:
        """pi [B, F, K]."""
        open_BFK: Tensor = self.gates(self.net.embedded(batch))
        return open_BFK
