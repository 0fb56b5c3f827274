"""What is exported of a model: the shapes of the graph's inputs, and its forward pass.

Shape suffixes: C candidates, D embedding dimension, L items of histories, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsys.errors import ExportError
from recsys.models.base import RankingModel
from streaming.encode.feature_spec import FeatureSpec, PooledHistory


@dataclass(frozen=True, slots=True)
class GraphShape:
    """Number of fields of each sort that the graph takes, and number of tasks that it scores."""

    request_sparse: int
    item_sparse: int
    request_numeric: int
    item_numeric: int
    dim: int
    tasks: int
    histories: Sequence[PooledHistory]

    @staticmethod
    def of(spec: FeatureSpec, dim: int, tasks: int) -> GraphShape:
        of_item = [sum(field.of_item for field in fields) for fields in (spec.sparse, spec.numeric)]
        if not any(of_item):
            raise ExportError(
                "no field reads the item: all candidates would get the same score; add a field with source item"
            )
        sparse, numeric = len(spec.sparse), len(spec.numeric)
        return GraphShape(sparse - of_item[0], of_item[0], numeric - of_item[1], of_item[1], dim, tasks, spec.histories)

    def inputs(self, candidates: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the graph's inputs by name; one without fields is left out."""
        shapes = {
            "request_rows": (1, self.request_sparse, self.dim),
            "item_rows": (candidates, self.item_sparse, self.dim),
            "request_numeric": (1, self.request_numeric),
            "item_numeric": (candidates, self.item_numeric),
            "history_rows": (1, sum(history.length for history in self.histories), self.dim),
        }
        return {name: shape for name, shape in shapes.items() if shape[1]}


class ServingGraph(nn.Module):
    """What is exported: probabilities [C, T] of C candidates of one request, the logits corrected by a constant."""

    correction: Tensor

    def __init__(self, model: RankingModel) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("correction", torch.zeros(()))

    def forward(
        self,
        request_rows: Tensor | None = None,
        item_rows: Tensor | None = None,
        request_numeric: Tensor | None = None,
        item_numeric: Tensor | None = None,
        history_rows: Tensor | None = None,
    ) -> Tensor:
        given = item_rows if item_rows is not None else item_numeric
        assert given is not None
        request = given.new_zeros(1, 0, self.model.dim) if request_rows is None else request_rows
        items = given.new_zeros(given.shape[0], 0, self.model.dim) if item_rows is None else item_rows
        if history_rows is not None:
            lengths = [history.length for history in self.model.histories]
            request, items = self.model.attended_split(request, items, torch.split(history_rows, lengths, 1))
        logits_CT = self.model.forward_split(
            request,
            items,
            given.new_zeros(1, 0) if request_numeric is None else request_numeric,
            given.new_zeros(given.shape[0], 0) if item_numeric is None else item_numeric,
        )
        return torch.sigmoid(logits_CT + self.correction)
