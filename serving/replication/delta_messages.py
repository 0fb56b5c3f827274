"""Row changes as they lie on a model's delta stream.

Messages are in MessagePack. A change too large to be worth sending
(or a full one) is sent as a `Reset`: the reader forgets what it cached and reads rows again when it needs them.

Shape suffixes: U distinct ids, D embedding dimension.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from embedding.store import Delta, TableDelta

ROWS_PER_MESSAGE = 4096
"""Bounds how long a reader that applies one message holds its lock: well under a millisecond."""
MOST_ROWS = 65_536
"""A delta with more rows than this is sent as a Reset."""


class Change(msgspec.Struct, frozen=True, tag="c", array_like=True):
    """Part of the delta `sequence`: rows of one table, arrays as little-endian bytes."""

    sequence: int
    table: str
    dim: int
    ids_U: bytes
    values_UD: bytes
    removed: bytes

    def arrays(self) -> TableDelta:
        """The change as arrays. Raises ValueError when the sizes do not fit together."""
        ids_U = np.frombuffer(self.ids_U, "<u8")
        values_UD = np.frombuffer(self.values_UD, "<f4").reshape(len(ids_U), self.dim)
        return TableDelta(ids_U, values_UD, np.frombuffer(self.removed, "<u8"))


class Reset(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """Everything cached before delta `sequence` is void."""

    sequence: int


class Applied(msgspec.Struct, frozen=True, tag="a", array_like=True):
    """Delta `sequence` is complete."""

    sequence: int


class NewArtefact(msgspec.Struct, frozen=True, tag="n", array_like=True):
    """The model's artefact was replaced."""

    version: str


RowMessage = Change | Reset | Applied
Message = RowMessage | NewArtefact

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    return msgspec.msgpack.encode(message)


def decode(data: bytes) -> Message:
    """Raises msgspec.DecodeError (a ValueError) when the bytes are no message of this version."""
    return _decoder.decode(data)


def messages(delta: Delta) -> Iterator[Message]:
    """The delta as messages, the last of which completes it."""
    rows = sum(len(table.ids_U) + len(table.removed) for table in delta.tables.values())
    if delta.full or rows > MOST_ROWS:
        yield Reset(delta.sequence)
        return
    for name, table in delta.tables.items():
        yield from _changes(delta.sequence, name, table)
    yield Applied(delta.sequence)


def _changes(sequence: int, name: str, table: TableDelta) -> Iterator[Change]:
    ids_U = np.ascontiguousarray(table.ids_U, "<u8")
    values_UD = np.ascontiguousarray(table.values_UD, "<f4")
    removed = np.ascontiguousarray(table.removed, "<u8")
    dim = values_UD.shape[1] if values_UD.ndim == 2 else 0
    for start in range(0, max(len(ids_U), len(removed)), ROWS_PER_MESSAGE):
        part = slice(start, start + ROWS_PER_MESSAGE)
        yield Change(sequence, name, dim, ids_U[part].tobytes(), values_UD[part].tobytes(), removed[part].tobytes())
