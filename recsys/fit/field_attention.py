"""What the fields of an AutoInt attend to while it scores. Shape suffixes: B rows, H heads, M fields, d width."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from recsys.fit.fit_result import FieldAttention
from recsys.models.autoint import InteractingLayer
from recsys.training.learner import Learner
from streaming.encode.feature_spec import FeatureSpec


class Attended:
    """The sum of the attention of all rows and layers so far."""

    def __init__(self) -> None:
        self._sum_MM: Tensor | None = None
        self._seen = 0

    def add(self, layer: InteractingLayer, inputs: tuple[Tensor, ...], _out: Any) -> None:
        """A layer was given these `inputs`, [B, M, d]."""
        attention_BHMM = layer.attention(inputs[0])
        sum_MM = attention_BHMM.mean(1).double().sum(0)
        self._sum_MM = sum_MM if self._sum_MM is None else self._sum_MM + sum_MM
        self._seen += len(attention_BHMM)

    def mean(self, spec: FeatureSpec) -> FieldAttention | None:
        """None if nothing attends, as in other models."""
        if self._sum_MM is None or not self._seen:
            return None
        names = [field.name for field in (*spec.sparse, *spec.numeric)]
        return FieldAttention(names, (self._sum_MM / self._seen).tolist())


@contextmanager
def watched(learner: Learner) -> Iterator[Attended]:
    """What the interacting layers of the model that scores attend to meanwhile."""
    attended = Attended()
    with ExitStack() as hooks:
        for module in learner.served_model.modules():
            if isinstance(module, InteractingLayer):
                hooks.callback(module.register_forward_hook(attended.add).remove)
        yield attended
