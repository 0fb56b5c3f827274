"""Training examples, one row per shown item, in columns.

Shape suffixes: B rows, N numeric fields.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streaming.log.event_log import Cursor

Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Jagged:
    """Ids of one field: `lengths[b]` of them belong to row b. Single-valued fields have 0 (missing) or 1 each."""

    values: Ids
    lengths_B: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.lengths_B)


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Rows in the order in which their labels became known.

    `times_B` is the impression's event time, `now` the event time at which the last label became known, both in ms.
    `cursor` is the log position that this batch ends at (see `Feed`).
    """

    ids: dict[str, Jagged]
    """By field name, categorical and multi-valued fields of the feature specification, in its order."""
    numeric_BN: npt.NDArray[np.float32]
    labels_B: npt.NDArray[np.float32]
    counted_B: npt.NDArray[np.float32]
    """1 for a row that brings its shown item in, 0 for one that corrects the label it came in with."""
    keys_B: npt.NDArray[np.int64]
    """The shown item: equal for the row that brought it in and the one that corrects it, else different."""
    weights_B: npt.NDArray[np.float32]
    propensities_B: npt.NDArray[np.float32]
    """The logged propensity of the row, 1.0 where the log has none."""
    times_B: npt.NDArray[np.int64]
    arms_B: npt.NDArray[np.str_]
    impressions_B: npt.NDArray[np.str_]
    now: int
    cursor: Cursor

    def __len__(self) -> int:
        return len(self.labels_B)
