"""The epochs of a stage of a search, which goes on where it was killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from recsys.search.plateau import Best, Rates
from recsys.search.search_folder import SearchFolder


class Stage:
    """Keeps in `folder`, after each epoch, what later epochs depend on: the same bits as without a stop.

    That is the `learning` tensors by name, which are restored in place, the state of the optimizer and its `rates`, the
    `best` epoch, and the random numbers of `generator`.
    """

    def __init__(
        self,
        folder: SearchFolder,
        name: str,
        learning: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        rates: Rates,
        best: Best,
        generator: torch.Generator | None = None,
    ) -> None:
        self._folder, self._name, self._learning = folder, name, learning
        self._optimizer, self._rates, self._best, self._generator = optimizer, rates, best, generator
        self._epoch, self._over = 0, False

    def epochs(self, most: int) -> Iterator[int]:
        """The numbers of the epochs that are left of `most`; `end` says after each whether it was the last."""
        if (found := self._folder.read_stage(self._name)) is not None:
            self._restore(*found)
        while not self._over and self._epoch < most:
            yield self._epoch

    def end(self, *, goes_on: bool) -> None:
        """Keep the state after an epoch."""
        self._epoch, self._over = self._epoch + 1, not goes_on
        tensors = {f"learning.{name}": value for name, value in self._learning.items()}
        tensors |= {f"best.{name}": value for name, value in (self._best.state or {}).items()}
        for number, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
        if self._generator is not None:
            tensors["random"] = self._generator.get_state()
        values = {"epoch": self._epoch, "over": self._over, "best": self._best.loss, "rates": self._rates.state()}
        self._folder.write_stage(self._name, tensors, values)

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        self._epoch, self._over, self._best.loss = values["epoch"], values["over"], values["best"]
        parts: dict[str, dict[str, Tensor]] = {"learning": {}, "best": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = value
        self._best.state = parts["best"]
        with torch.no_grad():
            for name, value in parts["learning"].items():
                self._learning[name].copy_(value)
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["optimizer"].items():
            number, _, key = name.partition(".")
            states.setdefault(int(number), {})[key] = value
        self._optimizer.load_state_dict({"state": states, "param_groups": self._optimizer.state_dict()["param_groups"]})
        self._rates.restore(values["rates"])
        if self._generator is not None:
            self._generator.set_state(tensors["random"])
