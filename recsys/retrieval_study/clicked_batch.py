"""Clicks as the batches that learners take. Shape suffixes: B clicks."""

from __future__ import annotations

import numpy as np

from streaming.encode.batch import Jagged, TrainingBatch


def clicked_batch(ids: dict[str, Jagged]) -> TrainingBatch:
    """Rows that were all clicked, of these ids and without numbers or times."""
    rows = len(next(iter(ids.values())))
    ones, zeros = np.ones(rows, np.float32), np.zeros(rows, np.int64)
    return TrainingBatch(
        ids=ids,
        numeric_BN=np.zeros((rows, 0), np.float32),
        labels_B=ones,
        counted_B=ones,
        keys_B=zeros,
        tasks_B=zeros,
        weights_B=ones,
        propensities_B=ones,
        positions_B=zeros.astype(np.int32),
        times_B=zeros,
        now=0,
        cursor=(0,),
    )
