"""Training and judging a supernet. Shape suffixes as in `recsys.search.supernet`; R rows of a part."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.fit.fit_result import Figures
from recsys.fit.scoring import figures_of
from recsys.search.supernet import Space
from recsys.training.dense.model import probabilities
from recsys.training.dense.peers import Scores
from recsys.training.dense.randomness import randomness
from recsys.training.loss import WeightedLogLoss
from streaming.encode.batch import TrainingBatch

Forward = Callable[[TrainingBatch], Tensor]
"""From a batch to its logits [B, T]."""
SMALLEST_RATE = 1e-6
"""At this learning rate a stage ends (`main_nas.py`)."""
_CHUNK = 8192


class Rates:
    """A learning rate that falls tenfold when the validation loss does not, as in the code of AutoSrh."""

    def __init__(self, optimizer: torch.optim.Optimizer, patience: int) -> None:
        self._optimizer = optimizer
        self._scheduler = ReduceLROnPlateau(optimizer, patience=patience, threshold=1e-7, min_lr=SMALLEST_RATE)

    def step(self, loss: float) -> bool:
        """After an epoch with this validation loss: whether to go on."""
        self._scheduler.step(loss)
        return float(self._optimizer.param_groups[0]["lr"]) > SMALLEST_RATE * (1 + 1e-9)


class Best:
    """The state with the lowest validation loss."""

    def __init__(self) -> None:
        self.loss = math.inf
        self.state: Any = None

    def offer(self, loss: float, state: Any) -> None:
        """Keep a copy of `state` if it is the best so far, and in any case the first."""
        if self.state is None or loss < self.loss:
            self.loss, self.state = loss, copy.deepcopy(state)


def batches(rows: TrainingBatch, size: int, seed: tuple[int, ...]) -> Iterator[TrainingBatch]:
    """One pass over the rows, in an order that depends on the seed alone."""
    return rows.take(np.random.default_rng(seed).permutation(len(rows))).cut(size)


def loss_of(config: Config) -> WeightedLogLoss:
    """That of `recsys train`. Raises InvalidValueError if that debiases or samples, which a search does not."""
    if config.training.debiasing.on:
        raise InvalidValueError("a search does not debias: leave [training.debiasing] out of its configuration")
    if config.training.negatives.on:
        raise InvalidValueError("a search learns all rows: leave [training.negatives] out of its configuration")
    return WeightedLogLoss([1.0, *(task.weight for task in config.tasks)])


def train(
    space: Space,
    net: nn.Module,
    forward: Forward | None = None,
    *,
    epochs: int,
    lr: float,
    stage: int,
    penalty: Callable[[], Tensor] | None = None,
    rates_of: Mapping[str, float] | None = None,
) -> float:
    """Train all weights by Adam, and leave those of the best epoch in `net`; returns their validation loss.

    `forward` gives the logits, by default `net` itself; `penalty` is added to the loss of each batch; parts of `net`
    named in `rates_of` have rates of their own. Each `stage` has batches of its own.
    """
    forward = forward or net
    config, size = space.config, space.config.training.batch_size
    optimizer, loss_of_batch = torch.optim.Adam(_groups(net, rates_of or {}), lr), loss_of(config)
    rates, best = Rates(optimizer, patience=0), Best()
    generator = torch.Generator().manual_seed(config.training.seed + stage)
    for epoch in range(epochs):
        net.train()
        for batch in batches(space.training, size, (config.training.seed, stage, epoch)):
            optimizer.zero_grad()
            with randomness(generator):
                loss = loss_of_batch(forward(batch), batch)
            torch.autograd.backward(loss if penalty is None else loss + penalty())
            optimizer.step()
        reached = mean_loss(space, net, forward)
        best.offer(reached, net.state_dict())
        if not rates.step(reached):
            break
    if best.state is not None:
        net.load_state_dict(best.state)
    return best.loss


def _groups(net: nn.Module, rates_of: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameters for an optimizer: those of each named part, after all others."""
    parts = [{"params": list(net.get_submodule(part).parameters()), "lr": lr} for part, lr in rates_of.items()]
    prefixes = tuple(f"{part}." for part in rates_of)
    return [{"params": [value for name, value in net.named_parameters() if not name.startswith(prefixes)]}, *parts]


def mean_loss(space: Space, net: nn.Module, forward: Forward | None = None) -> float:
    """Log loss of the first task on the validation part."""
    found = judge(space, net, space.validation, forward)[wiring.tasks(space.config)[0].name]["log_loss"]
    return math.inf if found is None else float(found)


def judge(space: Space, net: nn.Module, rows: TrainingBatch, forward: Forward | None = None) -> dict[str, Figures]:
    """Figures on rows, by task."""
    return figures_of([task.name for task in wiring.tasks(space.config)], rows, scores(net, rows, forward))


@torch.no_grad()
def scores(net: nn.Module, rows: TrainingBatch, forward: Forward | None = None) -> Scores:
    """Probabilities [R] of the rows' own tasks."""
    net.eval()
    found = [probabilities((forward or net)(batch), batch) for batch in rows.cut(_CHUNK)]
    return np.concatenate([np.zeros(0, np.float32), *found])
