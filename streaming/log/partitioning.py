"""Which partition of a log an event belongs to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from streaming.events.columns import IMPRESSION


def partition_of(events: pa.RecordBatch, partitions: int) -> npt.NDArray[np.int64]:
    """Partition of each event: an impression and its interactions share one, and so do the updates of one entity."""
    shown = pc.equal(events.column("kind"), IMPRESSION)
    own = pc.if_else(shown, events.column("id"), None)
    keys = pc.coalesce(own, events.column("impression"), events.column("user"), events.column("item"))
    hashes = (xxh3_64_intdigest(key.encode()) % partitions for key in keys.to_pylist())
    return np.fromiter(hashes, np.int64, events.num_rows)


def split(events: pa.RecordBatch, partitions: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The events of each partition, in order; partitions without any are left out."""
    if partitions == 1:
        yield 0, events
        return
    partition_B = partition_of(events, partitions)
    for partition in np.unique(partition_B).tolist():
        yield partition, events.filter(pa.array(partition_B == partition))
