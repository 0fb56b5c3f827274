"""The columns that every event has: the codes of `kind`, and times.

Shape suffixes: N events.
"""

from __future__ import annotations

from typing import Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.schema import Event, Impression, Interaction, ItemUpdate, UserUpdate

EVENT_TYPES: Final[tuple[type[Event], ...]] = (Impression, Interaction, UserUpdate, ItemUpdate)
"""The type of an event, by its code in the `kind` column."""

KINDS: Final = tuple(str(type_.__struct_config__.tag) for type_ in EVENT_TYPES)
"""The name of the kind (`type` in JSON), by its code."""

IMPRESSION, INTERACTION, USER, ITEM = range(len(EVENT_TYPES))


def kinds(events: pa.RecordBatch) -> npt.NDArray[np.uint8]:
    """Kind codes of the events [N]."""
    return cast("npt.NDArray[np.uint8]", events.column("kind").to_numpy())


def times(events: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Event times [N], ms since the epoch."""
    return cast("npt.NDArray[np.int64]", events.column("time").to_numpy())
