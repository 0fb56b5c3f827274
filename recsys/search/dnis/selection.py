"""Differentiable Neural Input Search (Cheng, Shen, Huang 2020, arXiv 2006.04466), after its published code.

Ids are sorted by frequency and cut into L blocks. Coordinate k of an id of block l counts with the factor alpha_lk in
[0, 1], and alpha learns on the validation part while rows learn on the training part: a first-order solution of
min_alpha loss_validation(rows*(alpha), alpha). Rows times alpha are then pruned by magnitude.

Shape suffixes: L blocks, K coordinates of a row, V ids of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import torch
from torch import Tensor

from recsys.config.sections.learning.search import DnisSection
from recsys.search.plateau import Best, Rates
from recsys.search.search_folder import SearchFolder
from recsys.search.stage import Stage
from recsys.search.supernet import Space, Supernet
from recsys.search.supernet_training import batches, loss_of, mean_loss
from streaming.encode.batch import TrainingBatch

_EPS = 1e-8
_STAGE = 1
"""Of the batches."""


class SelectionLayer:
    """alpha, all ones at first, and its steps."""

    def __init__(self, blocks_V: Tensor, blocks: int, dim: int, lr: float, l1: float) -> None:
        self.alpha_LK = torch.ones(blocks, dim, requires_grad=True)
        self.blocks_V, self.learns, self._l1 = blocks_V, lr > 0, l1
        self.optimizer = torch.optim.SGD([self.alpha_LK], lr)

    def factors(self) -> Tensor:
        """The factor of each coordinate of each id, [V, K]."""
        return self.alpha_LK[self.blocks_V]

    def step(self, loss: Tensor) -> None:
        """One step on a validation loss: g_l <- g_l / (mean_k |g_lk| + eps), then alpha is clipped to [0, 1].

        The normalisation lets frequent and rare blocks, whose gradients differ by orders of magnitude, move alike.
        """
        (gradient_LK,) = torch.autograd.grad(loss + self._l1 * self.alpha_LK.abs().sum(), self.alpha_LK)
        self.alpha_LK.grad = gradient_LK / (gradient_LK.abs().mean(1, keepdim=True) + _EPS)
        self.optimizer.step()
        with torch.no_grad():
            self.alpha_LK.clamp_(0.0, 1.0)


def search(
    space: Space,
    net: Supernet,
    section: DnisSection,
    report: Callable[[int], None] = lambda _epoch: None,
    folder: SearchFolder | None = None,
    name: str = "",
) -> Tensor:
    """Search alpha, and learn the rows of `net`, whose other weights stay as they are; returns the factors [V, K].

    Rows and alpha are those of the epoch with the lowest validation loss. With `alpha_lr` 0 alpha stays 1, and only
    the rows learn: the control that tells the search from the training that comes with it. With a `folder`, it is kept
    there under `name`, and goes on from there.
    """
    blocks_V = torch.from_numpy(space.vocabulary.blocks(section.blocks))
    layer = SelectionLayer(blocks_V, section.blocks, space.dim, section.alpha_lr, section.l1)
    optimizer = torch.optim.Adam([net.rows_VK], section.lr)
    rates, best = Rates(optimizer, patience=1), Best()
    learning = {"rows": net.rows_VK, "alpha": layer.alpha_LK}
    kept = Stage(folder or SearchFolder(), name, learning, optimizer, rates, best)
    for epoch in kept.epochs(section.search_epochs):
        _epoch(space, net, layer, optimizer, epoch)
        report(epoch)
        with torch.no_grad():
            reached = mean_loss(space, net, net.with_factors(layer.factors()))
        best.offer(reached, {name: tensor.detach() for name, tensor in learning.items()})
        kept.end(goes_on=rates.step(reached))
    assert best.state is not None  # there is at least one epoch
    with torch.no_grad():
        net.rows_VK.copy_(best.state["rows"])
    return best.state["alpha"][blocks_V]


def _epoch(space: Space, net: Supernet, layer: SelectionLayer, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    size, seed = space.config.training.batch_size, space.config.training.seed
    validation = cycle(list(batches(space.validation, size, (seed, _STAGE, epoch, 1))))
    for batch in batches(space.training, size, (seed, _STAGE, epoch)):
        step(space, net, layer, optimizer, batch, next(validation))


def step(
    space: Space,
    net: Supernet,
    layer: SelectionLayer,
    optimizer: torch.optim.Optimizer,
    training: TrainingBatch,
    validation: TrainingBatch,
) -> None:
    """The rows learn from a training batch, then alpha from a validation batch."""
    net.eval()  # the predictor stays at its warm start, so nothing is dropped from it
    loss = loss_of(space.config)
    (net.rows_VK.grad,) = torch.autograd.grad(loss(net(training, layer.factors().detach()), training), net.rows_VK)
    optimizer.step()
    if layer.learns:
        layer.step(loss(net(validation, layer.factors()), validation))
