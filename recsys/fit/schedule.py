"""When training in epochs ends, and its learning rates: functions of the figures so far, which a restart repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau

Schedule = Literal["constant", "cosine", "plateau"]
_HALF = 0.5


def rate(schedule: Schedule, figures: Sequence[float], epochs: int) -> float:
    """The factor of the learning rates in the epoch after those with these `figures` (lower is better).

    >>> [round(rate("cosine", [0.5] * done, epochs=4), 3) for done in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    >>> [rate("plateau", [0.7, 0.6, 0.65, 0.6, 0.5][:done], epochs=9) for done in range(6)]
    [1.0, 1.0, 1.0, 0.5, 0.25, 0.25]
    """
    if schedule == "constant":
        return 1.0
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    if schedule == "plateau":
        plateau = ReduceLROnPlateau(optimizer, factor=_HALF, patience=0, threshold=0.0, threshold_mode="abs")
        for figure in figures:
            plateau.step(figure)
    else:
        cosine: LRScheduler = CosineAnnealingLR(optimizer, T_max=epochs)
        for _ in figures:
            optimizer.step()  # which a scheduler of torch expects before each of its own
            cosine.step()
    return float(optimizer.param_groups[0]["lr"])


def best_epoch(figures: Sequence[float]) -> int:
    """The number, from 0, of the first epoch with the lowest figure; an undefined figure (NaN) is never the lowest.

    >>> best_epoch([0.7, 0.6, 0.6]), best_epoch([float("nan"), 0.6])
    (1, 1)
    """
    known = [math.inf if math.isnan(figure) else figure for figure in figures]
    return known.index(min(known))


def has_ended(figures: Sequence[float], epochs: int, patience: int) -> bool:
    """Whether no epoch follows those with these `figures`.

    >>> has_ended([0.7, 0.6, 0.61], epochs=9, patience=2), has_ended([0.7, 0.6, 0.61, 0.62], epochs=9, patience=2)
    (False, True)
    """
    return bool(figures) and (len(figures) >= epochs or len(figures) - 1 - best_epoch(figures) >= patience)
