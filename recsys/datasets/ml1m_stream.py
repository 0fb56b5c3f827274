"""The last 20 % of MovieLens 1M, whose times are all exact: for what depends on the order of a user's ratings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.datasets.ml1m import ml1m, ratings_of
from streaming.events.columns import KINDS

_UPDATES = [KINDS.index(kind) for kind in ("user", "item")]


def ml1m_stream(folder: Path | str) -> list[pa.RecordBatch]:
    """The events of `ml1m` without its batch part: there a user's ratings share one time, so none is before another."""
    ratings = ratings_of(Path(folder))
    exact = ratings.filter(pc.not_equal(ratings["period"], "train80"))
    start = int(np.min(exact["timestamp"].to_numpy())) * 1000
    kept = pc.field("kind").isin(_UPDATES) | (pc.field("time") >= start)
    return [batch.filter(kept) for batch in ml1m(folder)]
