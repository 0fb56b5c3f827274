"""The moments of an optimizer as named tensors, for checkpoints."""

from __future__ import annotations

import copy

import torch


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """By number of the parameter and name, such as `0.exp_avg`; copies."""
    moments = optimizer.state_dict()["state"].items()
    return {f"{index}.{name}": value.clone() for index, named in moments for name, value in named.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, torch.Tensor]) -> None:
    """Restore what `optimizer_state` returned; settings such as the learning rate stay."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in state.items():
        index, moment = name.split(".")
        moments.setdefault(int(index), {})[moment] = value
    groups = copy.deepcopy(optimizer.state_dict()["param_groups"])
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
