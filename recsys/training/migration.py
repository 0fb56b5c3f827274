"""Migrating a learner to other fields: known fields keep their state, new ones begin as in a new model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from safetensors.torch import load_file
from torch import Tensor

from recsys.errors import InvalidValueError
from recsys.models import RankingModel, build
from recsys.training.description import Description
from recsys.training.learner import DENSE, ROWS, Learner
from streaming.encode.feature_spec import FeatureSpec, Field

State = dict[str, Tensor]


@runtime_checkable
class _LoadsKnownTables(Protocol):
    """A store that can load some tables of a snapshot."""

    def load_known(self, folder: Path | str) -> None: ...


def load_migrated(learner: Learner, folder: Path) -> FeatureSpec:
    """Restore into a new learner what one with other fields saved in `folder`; returns those fields.

    Kept are the rows of tables that both have, and the weights, optimizer states and moments of fields that both have
    with all their settings. A field that is new reads rows and weights of a new model, or zeros where those would
    change scores at once. Raises InvalidValueError if more than fields differ.
    """
    if not isinstance(learner.store, _LoadsKnownTables):
        raise InvalidValueError(f"{type(learner.store).__name__} cannot load only some of its tables")
    written = Description.read(folder / DENSE)
    learner.description.check_model(written)
    state = _migrated(load_file(folder / DENSE), written.spec, learner)
    learner.store.load_known(folder / ROWS)
    learner.load_dense(state, folder / DENSE)
    return written.spec


def _migrated(written: State, old: FeatureSpec, learner: Learner) -> State:
    model, new = learner.model, learner.spec
    sizes = {"n_sparse": len(old.sparse), "n_numeric": len(old.numeric), "dim": model.dim, "tasks": model.tasks}
    before = build(model.config, **sizes, histories=old.histories)
    state = _weights(written, old, learner) | _adam(written, before, old, learner)
    fresh = learner.dense_state()
    for name in (name for name in fresh if name.startswith("moments.")):
        state[name] = _carried(written[name], fresh[name], (0,), old.numeric, new.numeric)
    counts = written["left_out"]
    fields = (*old.sparse, *old.numeric), (*new.sparse, *new.numeric)
    state["left_out"] = torch.cat([_carried(counts[:-1], fresh["left_out"][:-1], (0,), *fields), counts[-1:]])
    kept = [name for name in written if name in ("random", "clocks") or _is_estimate(name)]
    return state | {name: written[name] for name in kept}


def _is_estimate(name: str) -> bool:
    """Whether it holds for other fields, too; balanced weights are of the fields, and found anew."""
    return name.startswith(("debiasing.", "negatives.")) and not name.startswith("debiasing.balance.")


def _weights(written: State, old: FeatureSpec, learner: Learner) -> State:
    """The dense weights, and their mean over steps."""
    state = {}
    for name, fresh in learner.model.state_dict().items():
        parts = learner.model.by_field().get(name)
        start = torch.zeros_like(fresh) if parts is not None and parts.starts_at_zero else fresh
        for key in (f"model.{name}", f"averaged.{name}"):
            state[key] = _parameter(written.get(key, written.get(f"model.{name}")), start, name, old, learner)
    return state


def _adam(written: State, before: RankingModel, old: FeatureSpec, learner: Learner) -> State:
    """Moments of the gradients; a new parameter has none yet."""
    numbers = {name: number for number, (name, _) in enumerate(before.named_parameters())}
    state = {}
    for number, (name, parameter) in enumerate(learner.model.named_parameters()):
        prefix = f"optimizer.{numbers.get(name)}."
        for key, value in written.items():
            if key.startswith(prefix):
                new_key = f"optimizer.{number}.{key.removeprefix(prefix)}"
                start = torch.zeros_like(parameter) if value.dim() else value
                state[new_key] = _parameter(value, start, name, old, learner)
    return state


def _parameter(value: Tensor | None, start: Tensor, name: str, old: FeatureSpec, learner: Learner) -> Tensor:
    """`value` of the parameter `name`, its parts for new fields as in `start`."""
    parts = learner.model.by_field().get(name)
    if value is None:
        return start
    if parts is None or not value.dim():
        return value
    new = learner.spec
    if parts.numeric_only:
        return _carried(value, start, parts.axes, old.numeric, new.numeric)
    return _carried(value, start, parts.axes, (*old.sparse, *old.numeric), (*new.sparse, *new.numeric))


def _carried(value: Tensor, start: Tensor, axes: tuple[int, ...], old: Sequence[Field], new: Sequence[Field]) -> Tensor:
    """`start`, with the parts of `value` for fields present in both, along each of `axes`."""
    if not axes:
        return value
    result = start.detach().clone()
    if not old or not new:
        return result
    axis, *others = axes
    into, out_of = result.tensor_split(len(new), axis), value.tensor_split(len(old), axis)
    for part, field in zip(into, new, strict=True):
        if field in old:
            part.copy_(_carried(out_of[old.index(field)], part, tuple(others), old, new))
    return result
