"""Learning rates that fall when the validation loss does not, and the best epoch by it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

SMALLEST_RATE = 1e-6
"""At this learning rate a stage ends (`main_nas.py`)."""


class Rates:
    """A learning rate that falls tenfold when the validation loss does not, as in the code of AutoSrh."""

    def __init__(self, optimizer: torch.optim.Optimizer, patience: int) -> None:
        self._optimizer = optimizer
        self._scheduler = ReduceLROnPlateau(optimizer, patience=patience, threshold=1e-7, min_lr=SMALLEST_RATE)

    def step(self, loss: float) -> bool:
        """After an epoch with this validation loss: whether to go on."""
        self._scheduler.step(loss)
        return float(self._optimizer.param_groups[0]["lr"]) > SMALLEST_RATE * (1 + 1e-9)

    def state(self) -> dict[str, Any]:
        """What `restore` takes: numbers and lists."""
        return self._scheduler.state_dict() | {"lr": [group["lr"] for group in self._optimizer.param_groups]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned, the rates of the optimizer too."""
        self._scheduler.load_state_dict({name: value for name, value in state.items() if name != "lr"})
        for group, lr in zip(self._optimizer.param_groups, state["lr"], strict=True):
            group["lr"] = lr


class Best:
    """The tensors, by name, with the lowest validation loss."""

    def __init__(self) -> None:
        self.loss = math.inf
        self.state: dict[str, Tensor] | None = None

    def offer(self, loss: float, state: Mapping[str, Tensor]) -> None:
        """Keep a copy of `state` if it is the best so far, and in any case the first."""
        if self.state is None or loss < self.loss:
            self.loss, self.state = loss, {name: copy.deepcopy(value) for name, value in state.items()}
