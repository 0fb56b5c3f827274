"""Rows in a file, each with its id and a sum over its bits.

Suffixes: U distinct ids, D dimension, W floats of optimizer state per row, X words of a row in the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from embedding.kernels.sealing import SEAL, seal, unseal
from embedding.mapped_arrays import mapped_zeros
from embedding.store import Floats, Ids, Index
from recsys.errors import ColdRowsError

_U32, _U64 = np.uint32, np.uint64


class SealedRows:
    """`capacity` rows of `dim` values and `width` floats of optimizer state, in a file of `folder`.

    A snapshot keeps a row as it is in the file: as a state without values. Raises FileError if there can be no file.

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
        self.dim, self.width = 0, dim + width + SEAL
        self._columns, self._folder = (dim, width), folder
        self.weights = np.zeros(0, np.float32)
        self.state = mapped_zeros(folder, capacity * self.width, np.float32)
        self._records = self.state.view(_U32)
        self._factors = mix(np.arange(self.width, dtype=_U64)) | _U64(1)

    def put(self, rows_U: Index, ids_U: Ids, weights: Floats, state: Floats, from_U: Index) -> None:
        """Write rows, sealed: those at `from_U` of other rows' weights and optimizer states."""
        source = weights.reshape(-1).view(_U32), state.reshape(-1).view(_U32), from_U
        seal(self._records, *self._columns, rows_U, ids_U, self._factors, *source)

    def values(self, rows_U: Index) -> Floats:
        """No values [U, 0]."""
        return np.zeros((len(rows_U), 0), np.float32)

    def states(self, rows_U: Index) -> Floats:
        """Copies of rows [U, X] as they are in the file."""
        return self.state.reshape(-1, self.width)[rows_U]

    def read(self, rows_U: Index, ids_U: Ids | None = None) -> tuple[Ids, Floats, Floats]:
        """Ids [U], weights [U, D] and optimizer states [U, W].

        Raises ColdRowsError as `opened`, and where there are other ids than `ids_U`: what was written got lost.
        """
        read = self._opened(self._records, rows_U)
        if ids_U is not None and not np.array_equal(read[0], ids_U):
            raise self._damaged()
        return read

    def opened(self, states_UX: Floats) -> tuple[Ids, Floats, Floats]:
        """Ids [U], weights [U, D] and optimizer states [U, W] of what `states` returned.

        Raises ColdRowsError for bits that are not as they were written.
        """
        return self._opened(states_UX.reshape(-1).view(_U32), np.arange(len(states_UX), dtype=np.int32))

    def _opened(self, records: npt.NDArray[np.uint32], rows_U: Index) -> tuple[Ids, Floats, Floats]:
        (dim, width), n = self._columns, len(rows_U)
        ids_U, weights_UD, state_UW = np.empty(n, _U64), np.empty((n, dim), _U32), np.empty((n, width), _U32)
        into = ids_U, weights_UD.reshape(-1), state_UW.reshape(-1)
        if unseal(records, dim, width, rows_U, self._factors, *into):
            raise self._damaged()
        return ids_U, weights_UD.view(np.float32), state_UW.view(np.float32)

    def _damaged(self) -> ColdRowsError:
        return ColdRowsError(
            f"{self._folder}: rows on disk are not as they were written: check the disk, then "
            "start again from the last checkpoint, or name another folder"
        )
