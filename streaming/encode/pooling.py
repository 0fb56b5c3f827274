"""Pooling the embedding rows of a field, for training and for serving alike.

Shape suffixes: N ids of one field, B rows, D dimension.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def pool_mean(values_ND: Floats, lengths_B: npt.NDArray[np.int32] | None, out_BD: Floats) -> None:
    """Write the mean of each row's values into `out_BD`, zeros for a row without any.

    `lengths_B` is how many values belong to each row; None if it is one value for each.
    """
    if lengths_B is None:
        out_BD[:] = values_ND
        return
    some_B = lengths_B > 0
    out_BD[~some_B] = 0
    if len(values_ND):
        starts_B = np.cumsum(lengths_B) - lengths_B
        sums = np.add.reduceat(values_ND, starts_B[some_B], axis=0)
        out_BD[some_B] = sums / lengths_B[some_B, None].astype(np.float32)
