"""Adam (Kingma & Ba 2015) over dense weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Learns `weights` by the steps of `torch.optim.Adam`, with its settings but for the rate `lr`.

    That class loads TorchDynamo, the compiler, when it is made: 2.5 s of every process that trains, and nothing here is
    compiled. The function that it calls for the arithmetic does not. That is the fused one, a single call for all
    weights: they are many and small.
    """

    def __init__(self, weights: Iterable[torch.nn.Parameter], lr: float) -> None:
        self.lr = lr
        self._weights = list(weights)
        self._moments: dict[int, dict[str, Tensor]] = {}
        """By number of the weight: number of steps, means of gradients and of their squares. None before the first."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self._weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients; a weight without one stays."""
        given = [(number, weight, weight.grad) for number, weight in enumerate(self._weights)]
        learned = [(weight, grad, self._of(number)) for number, weight, grad in given if grad is not None]
        adam(
            [weight for weight, _, _ in learned],
            [grad for _, grad, _ in learned],
            [moments["exp_avg"] for _, _, moments in learned],
            [moments["exp_avg_sq"] for _, _, moments in learned],
            [],
            [moments["step"] for _, _, moments in learned],
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
            fused=True,
        )

    def _of(self, number: int) -> dict[str, Tensor]:
        if number not in self._moments:
            weight = self._weights[number]
            means = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            self._moments[number] = {"step": torch.tensor(0.0), **means}
        return self._moments[number]

    def state(self) -> dict[str, Tensor]:
        """The moments as named tensors, such as `0.exp_avg` of the first weight; copies."""
        named = self._moments.items()
        return {f"{number}.{name}": value.clone() for number, moments in named for name, value in moments.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned; the rate stays."""
        self._moments = {}
        for key, value in state.items():
            number, name = key.split(".")
            self._moments.setdefault(int(number), {})[name] = value.clone()
