"""The interface of ranking models: pooled embedding rows and numbers in, one logit per row and task out.

Shape suffixes: B training rows, C candidates of a request, F sparse fields, N numeric fields, M = F + N fields,
D embedding dimension, T tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recsys.config.sections.section import Section
from recsys.errors import InvalidValueError
from recsys.models.blocks.batch_norm import BatchNorm
from recsys.models.blocks.causal_encoder import CausalEncoder
from recsys.models.blocks.perceptron import Perceptron
from recsys.models.blocks.target_attention import TargetAttention
from streaming.encode.feature_spec import PooledHistory


@dataclass(frozen=True, slots=True)
class FieldAxes:
    """The axes of a parameter that are divided into equal parts, one per field."""

    axes: tuple[int, ...]
    numeric_only: bool = False
    """Whether the parts are of numeric fields only; otherwise of all fields, sparse ones first."""
    starts_at_zero: bool = False
    """Whether a field added to a trained model starts with zeros, because its input is not small at first."""


class RankingModel(nn.Module, ABC):
    """A dense network over embedded fields. Embedding rows live in the store, not here.

    Inside the model the fields are ordered sparse first, then numeric, each in the order of the feature
    specification. A numeric field m enters as v_m * x_m with a learned vector v_m (AutoInt, eq. 4).
    The tasks share all but the last layer. `Config` is the section of `recsys.toml` with the model's options. Rows of
    a table with fewer coordinates than the widest have zeros for the others.
    """

    Config: ClassVar[type[Section]]
    config: Any
    """The options that this model was built with, a `Config`."""

    def __init__(self, n_sparse: int, n_numeric: int, dim: int, tasks: int = 1) -> None:
        super().__init__()
        if min(n_sparse, n_numeric) < 0 or n_sparse + n_numeric == 0:
            raise InvalidValueError(f"a model needs at least one field, got {n_sparse} sparse and {n_numeric} numeric")
        if dim < 1:
            raise InvalidValueError(f"the embedding dimension must be at least 1, got {dim}")
        if tasks < 1:
            raise InvalidValueError(f"a model needs at least one task, got {tasks}")
        self.n_sparse, self.n_numeric, self.dim, self.tasks = n_sparse, n_numeric, dim, tasks
        self.histories: tuple[PooledHistory, ...] = ()
        self.numeric_ND = nn.Parameter(torch.randn(n_numeric, dim) * 0.01) if n_numeric else None

    def pool(self, histories: Sequence[PooledHistory]) -> None:
        """Pool these fields by networks of their own, with new weights: call it once, before training."""
        if histories:
            self.histories = tuple(histories)
            self.attention = nn.ModuleDict({f"of_{each.name}": self._pooling(each) for each in histories})

    def _pooling(self, history: PooledHistory) -> nn.Module:
        return CausalEncoder(self.dim, history.length) if history.target is None else TargetAttention(self.dim)

    def attended(self, embedded_BFD: Tensor, histories: Sequence[Tensor]) -> Tensor:
        """`embedded_BFD` with what the model pools itself, from the rows [B, L, D] of each history."""
        columns = list(embedded_BFD.unbind(1)) if self.histories else []
        for history, rows_BLD in zip(self.histories, histories, strict=True):
            read = (rows_BLD,) if history.target is None else (columns[history.target], rows_BLD)
            columns[history.field] = self._attend(history, *read)
        return torch.stack(columns, 1) if columns else embedded_BFD

    def attended_split(
        self, request_1FD: Tensor, item_CFD: Tensor, histories: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """As `attended`, of the rows of one request and its candidates, which the histories, [1, L, D] each, are for.

        Histories that are pooled for each candidate are the last fields of the request, and become the first of the
        candidates.
        """
        cut, requests, items = request_1FD.shape[1], list(request_1FD.unbind(1)), []
        for history, rows_1LD in zip(self.histories, histories, strict=True):
            if history.target is None:
                requests[history.field] = self._attend(history, rows_1LD)
            else:
                items.append(self._attend(history, item_CFD[:, history.target - cut], rows_1LD))
        kept = requests[: cut - len(items)]
        return (
            torch.stack(kept, 1) if kept else request_1FD[:, :0],
            torch.cat([*(pooled_CD.unsqueeze(1) for pooled_CD in items), item_CFD], 1),
        )

    def _attend(self, history: PooledHistory, *tensors: Tensor) -> Tensor:
        pooled_BD: Tensor = self.attention[f"of_{history.name}"](*tensors)
        return pooled_BD

    @property
    def n_fields(self) -> int:
        return self.n_sparse + self.n_numeric

    def by_field(self) -> dict[str, FieldAxes]:
        """The parameters with a part per field, by name. All fields share the others."""
        axes = {"numeric_ND": FieldAxes((0,), numeric_only=True)} if self.numeric_ND is not None else {}
        networks = (name for name, child in self.named_children() if isinstance(child, Perceptron))
        return axes | {f"{name}.layers.0.weight": FieldAxes((1,)) for name in networks}

    @cached_property
    def drops(self) -> bool:
        """Whether any dropout is above 0."""
        return any(value > 0 for name, value in self.config if name.endswith("dropout"))

    @property
    def widest(self) -> int:
        """Numbers in the widest activation of a row, by which the learner cuts a batch into parts."""
        return self.n_fields * self.dim

    @cached_property
    def mixes_rows(self) -> bool:
        """Whether a row's training logits depend on the other rows of its batch, as batch norm's do."""
        return any(isinstance(module, BatchNorm) for module in self.modules())

    def check_dims(self, dims: Mapping[str, int]) -> None:
        """Raise InvalidValueError unless the widest table, by name in `dims`, has the dimension of this model."""
        if dims and max(dims.values()) != self.dim:
            raise InvalidValueError(
                f"the widest of the embedding tables must have the model's dimension, {self.dim}; "
                + ", ".join(f"table {name} has {dim}" for name, dim in sorted(dims.items()))
            )

    def penalty(self) -> Tensor | None:
        """What the last forward pass of training adds to the loss of each of its rows, [B]; None if nothing.

        It is given once.
        """
        return None

    @abstractmethod
    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        """Logits [B, T] of B rows."""

    @abstractmethod
    def forward_split(self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor) -> Tensor:
        """Logits [C, T] of C candidates of one request: as `forward` of the joined rows, but computes the request once.

        The request's fields come first among the sparse and among the numeric fields.
        """

    def fields(self, embedded_BFD: Tensor, numeric_BN: Tensor, first: int = 0) -> Tensor:
        """All fields as vectors, [B, M, D]; without sparse fields, B is that of the numbers.

        `numeric_BN` starts at numeric field number `first`.
        """
        if self.numeric_ND is None or numeric_BN.shape[1] == 0:
            return embedded_BFD
        vectors_ND = self.numeric_ND[first : first + numeric_BN.shape[1]]
        numeric_BND = numeric_BN.unsqueeze(-1) * vectors_ND
        return torch.cat([embedded_BFD, numeric_BND], 1) if embedded_BFD.shape[1] else numeric_BND

    def fields_split(
        self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor
    ) -> tuple[Tensor, Tensor, list[int]]:
        """Fields of the request [1, Mr, D] and of the items [C, Mi, D], and their positions in `fields`."""
        requests, request_numbers = request_1FD.shape[1], request_1N.shape[1]
        sparse, numeric = range(self.n_sparse), range(self.n_sparse, self.n_fields)
        order = [*sparse[:requests], *numeric[:request_numbers], *sparse[requests:], *numeric[request_numbers:]]
        return self.fields(request_1FD, request_1N), self.fields(item_CFD, item_CN, first=request_numbers), order

    def joined(self, request_1MD: Tensor, item_CMD: Tensor, order: Sequence[int]) -> Tensor:
        """The vectors of the joined rows, [C, M, D], as `fields` orders them; `order` is that of `fields_split`."""
        joined_CMD = torch.cat([request_1MD.expand(item_CMD.shape[0], -1, -1), item_CMD], 1)
        places = sorted(range(self.n_fields), key=order.__getitem__)
        return joined_CMD if places == sorted(places) else joined_CMD[:, places]
