"""Rows in FBGEMM's memory. Suffixes: R rows, U distinct ids, D dimension, W floats of optimizer state per row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from embedding.hashing import initial_rows, salt_of
from embedding.kernels import rows as row_kernels
from embedding.store import Floats, Ids, Index, Table

_NOTHING = np.zeros(0, np.float32)


class FbgemmRows:
    """A `RowMemory` over weights [R, P] and the optimizer's states, [R] or [R, P] each, of a fused kernel.

    P may exceed the table's dimension D, because FBGEMM needs multiples of four; columns from D on mean nothing.

    >>> rows = FbgemmRows(torch.zeros(8, 4), [torch.zeros(8)], Table("film", dim=4), seed=0)
    >>> rows.initialise(np.array([3], np.int32), np.array([7], np.uint64))
    >>> rows.values(np.array([3], np.int32)).shape, rows.width
    ((1, 4), 1)
    """

    def __init__(self, weights_RP: torch.Tensor, states: Sequence[torch.Tensor], table: Table, seed: int) -> None:
        # Bypasses autograd's version counter: between forward and backward, rows of other ids may be written.
        self._weights_RP, self._states = weights_RP.data, [state.data for state in states]
        self.dim, self.step = table.dim, 0
        self.width = sum(table.dim if state.dim() > 1 else 1 for state in self._states)
        self._salt, self._scale = salt_of(seed, table.name), table.init_scale
        plain = weights_RP.device.type == "cpu" and weights_RP.is_contiguous() and weights_RP.dtype == torch.float32
        self._flat = self._weights_RP.numpy().reshape(-1) if plain else None

    @property
    def half(self) -> bool:
        """Whether weights are of half precision."""
        return self._weights_RP.dtype == torch.float16

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, used or not: FBGEMM allocates them at the start."""
        return sum(tensor.nbytes for tensor in (self._weights_RP, *self._states))

    def initialise(self, rows_U: Index, ids_U: Ids) -> None:
        """Fresh values and an empty optimizer state."""
        if self._flat is None:
            values_UD = initial_rows(ids_U, self.dim, self._salt, self._scale)
            self.put(rows_U, values_UD, np.zeros((len(rows_U), self.width), np.float32))
            return
        padded = self._weights_RP.shape[1]
        row_kernels.initialise(self._flat, _NOTHING, padded, 0, rows_U, ids_U, self._salt, np.float32(self._scale))
        for state in self._states:
            state.numpy()[rows_U] = 0

    def put(self, rows_U: Index, weights_UD: Floats, state_UW: Floats) -> None:
        """Padding becomes zero: FBGEMM multiplies it, and a NaN that a step left there would spoil the row."""
        at = self._at(rows_U)
        self._weights_RP[at] = self._padded(weights_UD).to(self._weights_RP.dtype)
        begin = 0
        for state in self._states:
            if state.dim() > 1:
                state[at] = self._padded(state_UW[:, begin : begin + self.dim])
                begin += self.dim
            else:
                state[at] = self._to_device(state_UW[:, begin])
                begin += 1

    def _padded(self, array_UD: Floats) -> torch.Tensor:
        return torch.nn.functional.pad(self._to_device(array_UD), (0, self._weights_RP.shape[1] - self.dim))

    def values(self, rows_U: Index) -> Floats:
        """Copies of rows [U, D]."""
        values: Floats = self._weights_RP[self._at(rows_U), : self.dim].float().cpu().numpy()
        return values

    def states(self, rows_U: Index) -> Floats:
        """Copies of optimizer states [U, W]."""
        at = self._at(rows_U)
        parts = [state[at, : self.dim] if state.dim() > 1 else state[at][:, None] for state in self._states]
        states: Floats = torch.cat([torch.zeros(len(rows_U), 0), *(part.cpu() for part in parts)], 1).numpy()
        return states

    def _at(self, rows_U: Index) -> torch.Tensor:
        return torch.from_numpy(rows_U.astype(np.int64)).to(self._weights_RP.device)

    def _to_device(self, array: Floats) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._weights_RP.device)
