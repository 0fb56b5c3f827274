"""Between the embedding store and autograd: rows of all fields into one tensor, its gradient back into the store.

Shape suffixes: B training rows, F sparse fields, D embedding dimension, S = F * D, N ids of one store call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from embedding.store import EmbeddingStore, Floats, Ids, Lookup
from recsys.errors import InvalidValueError
from streaming.encode.batch import Jagged
from streaming.encode.feature_spec import FeatureSpec
from streaming.encode.pooling import pool_mean


@dataclass(frozen=True, slots=True)
class _Unpooled:
    """Where the rows of a history are, for `apply`."""

    rows_BLD: torch.Tensor
    """Zeros follow the rows; a leaf, as `Embedded.pooled_BS`."""
    filled_BL: npt.NDArray[np.bool_]
    dim: int
    """Coordinates of the table's rows; zeros follow if they are narrower than the widest."""

    def gradients(self) -> Floats:
        """Of each id, in the order of the ids."""
        gradient = self.rows_BLD.grad
        assert gradient is not None
        return gradient.numpy()[self.filled_BL][:, : self.dim]


@dataclass(frozen=True, slots=True)
class _Segment:
    """The position of one field's ids in the store call of its table."""

    columns: slice
    """The part of S that holds the field's pooled rows; zeros follow if they are narrower than the widest."""
    start: int
    stop: int
    lengths_B: npt.NDArray[np.int32] | None
    """None if every row has exactly one id."""
    unpooled: _Unpooled | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """The pooled rows of one batch, and what `apply` needs for their gradient."""

    pooled_BS: torch.Tensor
    """The fields side by side, in the order of `spec.sparse`; a leaf that collects gradients, except after `peek`."""
    fields: int
    lookups: tuple[tuple[Lookup, tuple[_Segment, ...]], ...]

    @property
    def histories(self) -> list[torch.Tensor]:
        """The rows [B, L, D] of each history that the model pools itself, in the order of `FeatureSpec.histories`.

        Each is a leaf, as `pooled_BS`, which has their means, too: what is not finite in one is found in the other.
        """
        found = [one for _, segments in self.lookups for one in segments if one.unpooled is not None]
        ordered = sorted(found, key=lambda segment: segment.columns.start)
        return [one.unpooled.rows_BLD for one in ordered if one.unpooled is not None]

    @property
    def gradient_BS(self) -> torch.Tensor | None:  # noqa: N802
        """The gradients of each row of the batch side by side, None before `backward`; S is more with histories."""
        parts = [tensor.grad for tensor in (self.pooled_BS, *self.histories)]
        if parts[0] is None:
            return None
        return torch.cat([part.flatten(1) for part in parts if part is not None], 1) if len(parts) > 1 else parts[0]

    def forget_gradient(self) -> None:
        for tensor in (self.pooled_BS, *self.histories):
            tensor.grad = None

    def blank(self, rows_B: npt.NDArray[np.bool_]) -> None:
        """Make all inputs of these rows of the batch zeros."""
        with torch.no_grad():
            for tensor in (self.pooled_BS, *self.histories):
                tensor[torch.from_numpy(rows_B)] = 0

    @property
    def embedded_BFD(self) -> torch.Tensor:  # noqa: N802
        """A view of `pooled_BS`."""
        width = self.pooled_BS.shape[1] // max(self.fields, 1)
        return self.pooled_BS.view(len(self.pooled_BS), self.fields, width)


@runtime_checkable
class _ReadsTogether(Protocol):
    """A store of several processes, which exchanges the ids of all tables at once."""

    def lookup_each(self, ids: Mapping[str, Ids], now: int) -> dict[str, Lookup]: ...
    def peek_each(self, ids: Mapping[str, Ids]) -> dict[str, Lookup]: ...
    def update_each(self, lookups: Sequence[Lookup], grads: Sequence[Floats]) -> None: ...


class EmbeddingLayer:
    """Looks up the ids of a batch and applies their gradients.

    A field's ids in one row are pooled by their mean; a row without ids reads zeros. Fields that share a table share
    one call to the store, so that an id in two of them is updated once, by the sum of its gradients. Rows of a table
    that is narrower than the widest fill the first coordinates of their field's part, and zeros the others. Raises
    InvalidValueError if a field's table is not in the store.
    """

    def __init__(self, store: EmbeddingStore, spec: FeatureSpec) -> None:
        self.store = store
        self._together = store if isinstance(store, _ReadsTogether) else None
        self.names = tuple(field.name for field in spec.sparse)
        self._fields_of: dict[str, list[int]] = {}
        for number, field in enumerate(spec.sparse):
            self._fields_of.setdefault(field.table, []).append(number)
        missing = sorted(self._fields_of.keys() - store.tables.keys())
        if missing:
            raise InvalidValueError(
                f"the embedding store has no table {', '.join(missing)}: add it or rename the field's table"
            )
        self._dims = tuple(store.tables[field.table].dim for field in spec.sparse)
        self._width = max(self._dims, default=0)
        self._unpooled = {history.field for history in spec.histories}

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that the fields read."""
        return tuple(self._fields_of)

    def lookup(self, ids: Mapping[str, Jagged], now: int) -> Embedded:
        """Read rows for training at event time `now` (ms): ids are counted, admitted and touched."""
        return self._embed(ids, now)

    def peek(self, ids: Mapping[str, Jagged]) -> Embedded:
        """Read rows for evaluation; nothing in the store changes."""
        return self._embed(ids, None)

    def apply(self, embedded: Embedded) -> None:
        """Update the store with the gradient that `backward` left in `embedded`; nothing without sparse fields."""
        if not self.names:
            return
        if embedded.pooled_BS.grad is None:
            raise ValueError("no gradient to apply: call backward on a loss of these embeddings first (not after peek)")
        gradient_BS = embedded.pooled_BS.grad.numpy()
        grads = [_gradients(gradient_BS, lookup, segments) for lookup, segments in embedded.lookups]
        lookups = [lookup for lookup, _ in embedded.lookups]
        if self._together is not None:
            self._together.update_each(lookups, grads)
            return
        for lookup, grads_ND in zip(lookups, grads, strict=True):
            self.store.update(lookup, grads_ND)

    def _read(self, ids: Mapping[str, Ids], now: int | None) -> dict[str, Lookup]:
        if self._together is not None:
            return self._together.peek_each(ids) if now is None else self._together.lookup_each(ids, now)
        if now is None:
            return {table: self.store.peek(table, ids_N) for table, ids_N in ids.items()}
        return {table: self.store.lookup(table, ids_N, now) for table, ids_N in ids.items()}

    def _embed(self, ids: Mapping[str, Jagged], now: int | None) -> Embedded:
        jagged, learns = [ids[name] for name in self.names], now is not None
        rows = len(jagged[0]) if jagged else 0
        pooled_BS = np.zeros((rows, self._width * len(self._dims)), np.float32)
        read = self._read({table: _joined(jagged, fields) for table, fields in self._fields_of.items()}, now)
        lookups = []
        for table, fields in self._fields_of.items():
            lookup = read[table]
            segments = self._segments(jagged, fields, lookup.values_ND, learns=learns)
            for segment in segments:
                values_ND = lookup.values_ND[segment.start : segment.stop]
                pool_mean(values_ND, segment.lengths_B, pooled_BS[:, segment.columns])
            lookups.append((lookup, segments))
        tensor = torch.from_numpy(pooled_BS).requires_grad_(learns)
        return Embedded(tensor, len(self._dims), tuple(lookups))

    def _segments(
        self, jagged: Sequence[Jagged], fields: Sequence[int], values_ND: Floats, *, learns: bool
    ) -> tuple[_Segment, ...]:
        segments, start = [], 0
        for field in fields:
            ids, column = jagged[field], field * self._width
            stop = start + len(ids.values)
            columns = slice(column, column + self._dims[field])
            unpooled = None
            if field in self._unpooled:
                unpooled = _side_by_side(values_ND[start:stop], ids.lengths_B, self._width, learns=learns)
            segments.append(_Segment(columns, start, stop, None if ids.single else ids.lengths_B, unpooled))
            start = stop
        return tuple(segments)


def _joined(jagged: Sequence[Jagged], fields: Sequence[int]) -> Ids:
    values = [jagged[field].values for field in fields]
    return values[0] if len(values) == 1 else np.concatenate(values)


def _side_by_side(values_ND: Floats, lengths_B: npt.NDArray[np.int32], width: int, *, learns: bool) -> _Unpooled:
    """The values of each row of the batch, [B, L, D], where L is the most that one has, at least 1."""
    places = np.arange(max(int(lengths_B.max(initial=0)), 1))
    filled_BL = places < lengths_B[:, None]
    rows_BLD = np.zeros((*filled_BL.shape, width), np.float32)
    rows_BLD[filled_BL, : values_ND.shape[1]] = values_ND
    return _Unpooled(torch.from_numpy(rows_BLD).requires_grad_(learns), filled_BL, values_ND.shape[1])


def _gradients(gradient_BS: Floats, lookup: Lookup, segments: Sequence[_Segment]) -> Floats:
    """The gradient of each id of a look-up."""
    grads_ND = np.empty_like(lookup.values_ND)
    for segment in segments:
        own_ND = grads_ND[segment.start : segment.stop]
        if segment.unpooled is None:
            _unpool(gradient_BS[:, segment.columns], segment.lengths_B, own_ND)
        else:  # the model does not read the mean
            own_ND[:] = segment.unpooled.gradients()
    return grads_ND


def _unpool(gradient_BD: Floats, lengths_B: npt.NDArray[np.int32] | None, out_ND: Floats) -> None:
    """Each value's share of its row's gradient."""
    if lengths_B is None:
        out_ND[:] = gradient_BD
    else:
        shares_BD = gradient_BD / np.maximum(lengths_B, 1)[:, None].astype(np.float32)
        out_ND[:] = np.repeat(shares_BD, lengths_B, axis=0)
