"""Rows in files, each with its id and a sum over its bits.

Suffixes: U distinct ids, D dimension, W floats of optimizer state per row, X floats beside the values of a sealed row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embedding.cold.mapped_arrays import mapped_zeros
from embedding.hashing import mix
from embedding.store import Floats, Ids, Index
from recsys.errors import ColdRowsError

_SEAL = 4  # floats beside the state: the id's two halves, then the sum's
_U32, _U64 = np.uint32, np.uint64


class SealedRows:
    """`capacity` rows of `dim` values and `width` floats of optimizer state, in files of `folder`.

    Raises FileError if the files cannot be made.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = SealedRows(Path(folder), capacity=8, dim=2, width=1)
    ...     rows.put(np.array([3], np.int32), np.array([7], np.uint64), np.ones((1, 2), "f"), np.zeros((1, 1), "f"))
    ...     ids, weights_UD, state_UW = rows.read(np.array([3], np.int32))
    ...     ids.tolist(), weights_UD.tolist(), state_UW.tolist()
    ([7], [[1.0, 1.0]], [[0.0]])
    """

    def __init__(self, folder: Path, capacity: int, dim: int, width: int) -> None:
        self.dim, self.width = dim, width + _SEAL
        """The sealed width."""
        self._folder = folder
        self.weights = mapped_zeros(folder, capacity * self.dim, np.float32)
        self.state = mapped_zeros(folder, capacity * self.width, np.float32)
        self._factors = mix(np.arange(dim + width + 2, dtype=_U64)) | _U64(1)

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        return self.weights.nbytes + self.state.nbytes

    def put(self, rows_U: Index, ids_U: Ids, weights_UD: Floats, state_UW: Floats) -> None:
        """Write rows, sealed."""
        sealed_UX = np.empty((len(ids_U), self.width), np.float32)
        sealed_UX[:, :-_SEAL] = state_UW
        sealed_UX.view(_U32)[:, -_SEAL:-2] = ids_U.view(_U32).reshape(-1, 2)
        sealed_UX.view(_U32)[:, -2:] = self._sums(weights_UD, sealed_UX).view(_U32).reshape(-1, 2)
        self.weights.reshape(-1, self.dim)[rows_U] = weights_UD
        self.state.reshape(-1, self.width)[rows_U] = sealed_UX

    def values(self, rows_U: Index) -> Floats:
        """Copies of rows [U, D]."""
        return self.weights.reshape(-1, self.dim)[rows_U]

    def states(self, rows_U: Index) -> Floats:
        """Copies of optimizer states with their seals [U, X]."""
        return self.state.reshape(-1, self.width)[rows_U]

    def read(self, rows_U: Index) -> tuple[Ids, Floats, Floats]:
        """Ids [U], weights [U, D] and optimizer states [U, W], as `opened`."""
        return self.opened(self.values(rows_U), self.states(rows_U))

    def opened(self, weights_UD: Floats, sealed_UX: Floats) -> tuple[Ids, Floats, Floats]:
        """Ids [U], weights [U, D] and optimizer states [U, W] of what `values` and `states` returned.

        Raises ColdRowsError for bits that are not as they were written.
        """
        words_UX = sealed_UX.view(_U32)
        sums_U = np.ascontiguousarray(words_UX[:, -2:]).view(_U64).reshape(-1)
        if not np.array_equal(sums_U, self._sums(weights_UD, sealed_UX)):
            raise ColdRowsError(
                f"{self._folder}: rows on disk are not as they were written: check the disk, then "
                "start again from the last checkpoint, or name another folder"
            )
        ids_U = np.ascontiguousarray(words_UX[:, -_SEAL:-2]).view(_U64).reshape(-1)
        return ids_U, weights_UD, np.ascontiguousarray(sealed_UX[:, :-_SEAL])

    def _sums(self, weights_UD: Floats, sealed_UX: Floats) -> Ids:
        words = np.concatenate([weights_UD.view(_U32), sealed_UX.view(_U32)[:, :-2]], axis=1)
        return (words * self._factors).sum(axis=1, dtype=_U64) + _U64(1)
