"""Rows in files, each with its id and a sum over its bits.

Suffixes: U distinct ids, D dimension, W floats of optimizer state per row, X floats beside the values of a sealed row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embedding.cold.mapped_arrays import mapped_zeros
from embedding.hashing import mix
from embedding.kernels.sealing import SEAL, seal, unseal
from embedding.store import Floats, Ids, Index
from recsys.errors import ColdRowsError

_U32, _U64 = np.uint32, np.uint64


class SealedRows:
    """`capacity` rows of `dim` values and `width` floats of optimizer state, in files of `folder`.

    Raises FileError if the files cannot be made.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = SealedRows(Path(folder), capacity=8, dim=2, width=1)
    ...     at, first = np.array([3], np.int32), np.zeros(1, np.int32)
    ...     rows.put(at, np.array([7], np.uint64), np.ones((1, 2), "f"), np.zeros((1, 1), "f"), first)
    ...     ids, weights_UD, state_UW = rows.read(at)
    ...     ids.tolist(), weights_UD.tolist(), state_UW.tolist()
    ([7], [[1.0, 1.0]], [[0.0]])
    """

    def __init__(self, folder: Path, capacity: int, dim: int, width: int) -> None:
        self.dim, self.width = dim, width + SEAL
        """The sealed width."""
        self._folder = folder
        self.weights = mapped_zeros(folder, capacity * self.dim, np.float32)
        self.state = mapped_zeros(folder, capacity * self.width, np.float32)
        self._factors = mix(np.arange(dim + width + 2, dtype=_U64)) | _U64(1)

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        return self.weights.nbytes + self.state.nbytes

    def put(self, rows_U: Index, ids_U: Ids, weights: Floats, state: Floats, from_U: Index) -> None:
        """Write rows, sealed: those at `from_U` of other rows' weights and optimizer states."""
        to = self.weights.view(_U32), self.state.view(_U32), self.dim, self.width - SEAL, rows_U, ids_U
        seal(*to, self._factors, weights.reshape(-1).view(_U32), state.reshape(-1).view(_U32), from_U)

    def values(self, rows_U: Index) -> Floats:
        """Copies of rows [U, D]."""
        return self.weights.reshape(-1, self.dim)[rows_U]

    def states(self, rows_U: Index) -> Floats:
        """Copies of optimizer states with their seals [U, X]."""
        return self.state.reshape(-1, self.width)[rows_U]

    def read(self, rows_U: Index) -> tuple[Ids, Floats, Floats]:
        """Ids [U], weights [U, D] and optimizer states [U, W]. Raises ColdRowsError as `opened`."""
        return self._opened(self.weights, self.state, rows_U)

    def opened(self, weights_UD: Floats, sealed_UX: Floats) -> tuple[Ids, Floats, Floats]:
        """Ids [U], weights [U, D] and optimizer states [U, W] of what `values` and `states` returned.

        Raises ColdRowsError for bits that are not as they were written.
        """
        return self._opened(weights_UD.reshape(-1), sealed_UX.reshape(-1), np.arange(len(weights_UD), dtype=np.int32))

    def _opened(self, weights: Floats, state: Floats, rows_U: Index) -> tuple[Ids, Floats, Floats]:
        n, width = len(rows_U), self.width - SEAL
        ids_U, weights_UD, state_UW = np.empty(n, _U64), np.empty((n, self.dim), _U32), np.empty((n, width), _U32)
        source = weights.view(_U32), state.view(_U32), self.dim, width, rows_U, self._factors
        if unseal(*source, ids_U, weights_UD.reshape(-1), state_UW.reshape(-1)):
            raise ColdRowsError(
                f"{self._folder}: rows on disk are not as they were written: check the disk, then "
                "start again from the last checkpoint, or name another folder"
            )
        return ids_U, weights_UD.view(np.float32), state_UW.view(np.float32)
