"""The columns that every event has: the codes of `kind`, and times.

Shape suffixes: N events.
"""

from __future__ import annotations

from typing import Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.schema import (
    ClientEvent,
    Erasure,
    Event,
    Impression,
    Interaction,
    ItemUpdate,
    ShadowScores,
    UserUpdate,
)

EVENT_TYPES: Final[tuple[type[ClientEvent], ...]] = (Impression, Interaction, UserUpdate, ItemUpdate)
"""The type of an event that the edge takes, by its code in the `kind` column."""

LOGGED_TYPES: Final[tuple[type[Event], ...]] = (*EVENT_TYPES, Erasure, ShadowScores)
"""The type of an event in the log, by its code."""

KINDS: Final = tuple(str(type_.__struct_config__.tag) for type_ in EVENT_TYPES)
"""The name of the kind (`type` in JSON), by its code."""

IMPRESSION, INTERACTION, USER, ITEM, ERASURE, SHADOW = range(len(LOGGED_TYPES))


def kinds(events: pa.RecordBatch) -> npt.NDArray[np.uint8]:
    """Kind codes of the events [N]."""
    return cast("npt.NDArray[np.uint8]", events.column("kind").to_numpy())


def times(events: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Event times [N], ms since the epoch."""
    return cast("npt.NDArray[np.int64]", events.column("time").to_numpy())


def erased_users(events: pa.RecordBatch) -> list[tuple[int, str]]:
    """The number of each erasure in the batch, and whose it is; places of removed events are left out."""
    at = np.flatnonzero(kinds(events) == ERASURE)
    users = events.column("user").take(pa.array(at)).to_pylist() if len(at) else []
    return [(number, user) for number, user in zip(at.tolist(), users, strict=True) if user]
