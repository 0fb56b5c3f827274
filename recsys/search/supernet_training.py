"""Training and judging a supernet. Shape suffixes as in `recsys.search.supernet`; R rows of a part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recsys import wiring
from recsys.config.schema import Config
from recsys.config.sections.learning.models import GatedConfig
from recsys.errors import InvalidValueError
from recsys.fit.fit_result import Figures
from recsys.fit.scoring import figures_of
from recsys.search.plateau import Best, Rates
from recsys.search.search_folder import SearchFolder
from recsys.search.stage import Stage
from recsys.search.supernet import Space
from recsys.training.dense.model import probabilities
from recsys.training.dense.peers import Scores
from recsys.training.dense.randomness import randomness
from recsys.training.loss import WeightedLogLoss
from streaming.encode.batch import TrainingBatch

Forward = Callable[[TrainingBatch], Tensor]
"""From a batch to its logits [B, T]."""
_CHUNK = 8192


def batches(rows: TrainingBatch, size: int, seed: tuple[int, ...]) -> Iterator[TrainingBatch]:
    """One pass over the rows, in an order that depends on the seed alone."""
    return rows.take(np.random.default_rng(seed).permutation(len(rows))).cut(size)


def loss_of(config: Config) -> WeightedLogLoss:
    """That of `recsys train`. Raises InvalidValueError if that has parts which a search has not."""
    if isinstance(config.model, GatedConfig):
        raise InvalidValueError("a search does not learn gates inside the model: choose another [model] name")
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
    folder: SearchFolder | None = None,
    name: str = "",
) -> float:
    """Train all weights by Adam, and leave those of the best epoch in `net`; returns their validation loss.

    `forward` gives the logits, by default `net` itself; `penalty` is added to the loss of each batch; parts of `net`
    named in `rates_of` have rates of their own. Each `stage` has batches of its own. With a `folder`, it is kept there
    under `name`, and goes on from there.
    """
    forward = forward or net
    config, size = space.config, space.config.training.batch_size
    optimizer, loss_of_batch = torch.optim.Adam(_groups(net, rates_of or {}), lr), loss_of(config)
    rates, best = Rates(optimizer, patience=0), Best()
    generator = torch.Generator().manual_seed(config.training.seed + stage)
    kept = Stage(folder or SearchFolder(), name, net.state_dict(), optimizer, rates, best, generator)
    for epoch in kept.epochs(epochs):
        net.train()
        for batch in batches(space.training, size, (config.training.seed, stage, epoch)):
            optimizer.zero_grad()
            with randomness(generator):
                loss = loss_of_batch(forward(batch), batch)
            torch.autograd.backward(loss if penalty is None else loss + penalty())
            optimizer.step()
        reached = mean_loss(space, net, forward)
        best.offer(reached, net.state_dict())
        kept.end(goes_on=rates.step(reached))
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
