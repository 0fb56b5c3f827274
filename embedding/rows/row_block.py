"""Embedding rows and their optimizer state in flat arrays.

Suffixes: N ids, U distinct ids, D dimension, W floats of optimizer state per row.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embedding.kernels import optimizers
from embedding.kernels import rows as row_kernels
from embedding.lazy_arrays import lazy_zeros
from embedding.optimizers import adam_rate, state_width
from embedding.store import Floats, Ids, Index, Optimizer, RowNumbers

_F32 = np.float32


def as_span(index_N: npt.NDArray[np.integer[Any]]) -> slice | npt.NDArray[np.integer[Any]]:
    """The same places as a slice, if each is one after the last: read and written without a copy between.

    >>> as_span(np.array([3, 4, 5])), as_span(np.array([3, 5]))
    (slice(3, 6, None), array([3, 5]))
    """
    if len(index_N) and (np.diff(index_N) == 1).all():
        return slice(int(index_N[0]), int(index_N[-1]) + 1)
    return index_N


def _put(into: Floats, span: slice | npt.NDArray[np.integer[Any]], values: Floats) -> None:
    if not isinstance(span, slice) or into[span].ctypes.data != values.ctypes.data:
        into[span] = values


class RowMemory(Protocol):
    """The memory of a table's rows, as `TableIds` needs it."""

    dim: int
    width: int
    """Floats of optimizer state per row."""
    step: int
    """Updates so far."""

    def initialise(self, rows_U: Index, ids_U: Ids) -> None: ...

    def put(self, rows_U: Index, weights_UD: Floats, state_UW: Floats) -> None: ...

    def values(self, rows_U: Index) -> Floats: ...

    def states(self, rows_U: Index) -> Floats: ...


class RowArrays(Protocol):
    """Rows in flat arrays, as a snapshot reads them."""

    dim: int
    width: int
    weights: Floats
    state: Floats

    def values(self, rows_U: Index) -> Floats: ...

    def states(self, rows_U: Index) -> Floats: ...


class RowBlock:
    """`capacity` rows of `dim` floats under one update rule. Memory is taken when a row is first written.

    >>> block, rows = RowBlock(8, 4, Optimizer("adagrad"), salt=np.uint64(0), scale=0.01), np.array([3], np.int32)
    >>> block.initialise(rows, np.array([7], np.uint64))
    >>> block.values(rows).shape, bool(abs(block.values(rows)).max() <= 0.01)
    ((1, 4), True)
    """

    def __init__(self, capacity: int, dim: int, optimizer: Optimizer, salt: np.uint64, scale: float) -> None:
        self.dim, self.optimizer = dim, optimizer
        self.width = state_width(optimizer, dim)
        self.weights = lazy_zeros(capacity * dim, np.float32)
        self.state = lazy_zeros(capacity * self.width, np.float32)
        self.step = 0
        self.rate = 1.0
        """The factor of the optimizer's learning rate, which a schedule sets."""
        self._salt, self._scale = salt, _F32(scale)
        self._gather, self._rowwise_adagrad = row_kernels.gather_of(dim), row_kernels.rowwise_adagrad_of(dim)

    def initialise(self, rows_U: Index, ids_U: Ids) -> None:
        """Fresh values and an empty optimizer state."""
        row_kernels.initialise(self.weights, self.state, self.dim, self.width, rows_U, ids_U, self._salt, self._scale)

    def put(self, rows_U: Index, weights_UD: Floats, state_UW: Floats) -> None:
        """Set rows; nothing is done for values that lie there already."""
        span = as_span(rows_U)
        _put(self.weights.reshape(-1, self.dim), span, weights_UD)
        _put(self.state.reshape(-1, self.width), span, state_UW)

    def values(self, rows_U: Index) -> Floats:
        """Copies of rows [U, D]."""
        return self.weights.reshape(-1, self.dim)[rows_U]

    def states(self, rows_U: Index) -> Floats:
        """Copies of optimizer states [U, W]."""
        return self.state.reshape(-1, self.width)[rows_U]

    def gather(self, rows_U: Index, inverse_N: Index) -> tuple[RowNumbers, Floats]:
        """The row [N] and values [N, D] of each id; zeros where the row is -1."""
        rows_N = np.empty(len(inverse_N), np.int64)
        values_ND = np.empty((len(inverse_N), self.dim), np.float32)
        self._gather(self.weights, rows_U, inverse_N, rows_N, values_ND.reshape(-1))
        return rows_N, values_ND

    def update(self, rows_U: Index, start: Index, members_N: Index, grads_ND: Floats) -> int:
        """One optimizer step on distinct rows; -1 is ignored. See `DistinctIds.groups` for start and members.

        Returns the number of rows left as they were, because a weight or state would not have been finite.
        """
        rule, grads = self.optimizer, grads_ND.reshape(-1)
        lr = _F32(rule.lr * self.rate)
        max_norm = _F32(math.inf if rule.max_norm is None else rule.max_norm)
        groups = (rows_U, start, members_N, grads, max_norm)
        common = (*groups, _F32(rule.l2))
        values = (self.weights, self.state, self.dim)
        self.step += 1
        match rule.kind:
            case "rowwise_adagrad":
                skipped = self._rowwise_adagrad(self.weights, self.state, *common, lr, _F32(rule.eps))
            case "adagrad":
                skipped = optimizers.adagrad(*values, *common, lr, _F32(rule.eps))
            case "adam":
                betas = (_F32(beta) for beta in rule.betas)
                corrected = _F32(adam_rate(rule, self.step) * self.rate)
                skipped = optimizers.adam(*values, *common, corrected, _F32(rule.eps), *betas)
            case "ftrl":
                rates = lr, _F32(rule.eps), _F32(rule.l1), _F32(rule.l2)
                skipped = optimizers.ftrl(*values, *groups, *rates)
        return int(skipped)
