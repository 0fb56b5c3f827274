"""Messages from the trainer to the servers: changed rows of a model, and users and items with changed features.

Messages about rows are MessagePack, notices about features JSON. A delta that is full, or too large to be worth
sending, is announced as a `Reset`: the reader empties its cache and reads rows again when it needs them. A delta
without changes is not announced, so messages name the last announced delta, `previous`, which reveals a gap. Each
names its run, because rows of one run say nothing about those of another.

Shape suffixes: U distinct ids, D embedding dimension.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from embedding.store import Delta, TableDelta

FIELD = b"m"
"""The field of a stream's entries that holds the message."""
ROWS_PER_MESSAGE = 4096
"""Bounds how long a reader that applies one message holds its lock: well under a millisecond."""
MAX_ROWS = 65_536
"""A delta with more rows than this is announced as a Reset."""


class Change(msgspec.Struct, frozen=True, tag="c", array_like=True):
    """Part of delta `sequence`: rows of one table, arrays as little-endian bytes."""

    sequence: int
    previous: int
    table: str
    dim: int
    ids_U: bytes
    values_UD: bytes
    removed: bytes
    run: str = ""

    def arrays(self) -> TableDelta:
        """The change as arrays. Raises ValueError when their sizes differ."""
        ids_U = np.frombuffer(self.ids_U, "<u8")
        values_UD = np.frombuffer(self.values_UD, "<f4").reshape(len(ids_U), self.dim)
        return TableDelta(ids_U, values_UD, np.frombuffer(self.removed, "<u8"))


class Reset(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """Everything cached before delta `sequence` is invalid."""

    sequence: int
    run: str = ""


class Applied(msgspec.Struct, frozen=True, tag="a", array_like=True):
    """Delta `sequence` is complete."""

    sequence: int
    previous: int
    run: str = ""


class VectorChange(msgspec.Struct, frozen=True, tag="v", array_like=True):
    """Vectors of some items, each in half precision, little-endian, and items that have none any more."""

    items: list[str]
    vectors: bytes
    removed: list[str]
    run: str = ""


class VectorReset(msgspec.Struct, frozen=True, tag="w", array_like=True):
    """The vectors of all items were written anew."""

    run: str = ""


class NewArtefact(msgspec.Struct, frozen=True, tag="n", array_like=True):
    """The model's artefact was replaced, or another run is served."""

    version: str


class EntityChange(msgspec.Struct, frozen=True):
    """Message on the stream `recsys:entities`: the users and items whose features changed."""

    users: list[str] = []
    items: list[str] = []


RowMessage = Change | Reset | Applied
VectorMessage = VectorChange | VectorReset
Message = RowMessage | VectorMessage | NewArtefact

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_entity_decoder: msgspec.json.Decoder[EntityChange] = msgspec.json.Decoder(EntityChange)


def encode(message: Message) -> bytes:
    return msgspec.msgpack.encode(message)


def decode(data: bytes) -> Message:
    """Raises msgspec.DecodeError (a ValueError) when the bytes are not a message of this version."""
    return _decoder.decode(data)


def encode_entities(change: EntityChange) -> bytes:
    return msgspec.json.encode(change)


def decode_entities(data: bytes) -> EntityChange:
    """Raises msgspec.DecodeError (a ValueError) when the bytes are not a notice of this version."""
    return _entity_decoder.decode(data)


def messages(delta: Delta, previous: int, run: str = "") -> Iterator[Message]:
    """The messages of a delta, ending with the one that completes it. A delta without changes has none."""
    rows = changed_rows(delta)
    if delta.full or rows > MAX_ROWS:
        yield Reset(delta.sequence, run)
    elif rows:
        for name, table in delta.tables.items():
            yield from _changes(delta.sequence, previous, name, table, run)
        yield Applied(delta.sequence, previous, run)


def changed_rows(delta: Delta) -> int:
    """Rows that the delta writes or removes."""
    return sum(len(table.ids_U) + len(table.removed) for table in delta.tables.values())


def _changes(sequence: int, previous: int, name: str, table: TableDelta, run: str) -> Iterator[Change]:
    ids_U = np.ascontiguousarray(table.ids_U, "<u8")
    values_UD = np.ascontiguousarray(table.values_UD, "<f4")
    removed = np.ascontiguousarray(table.removed, "<u8")
    dim = values_UD.shape[1] if values_UD.ndim == 2 else 0
    for start in range(0, max(len(ids_U), len(removed)), ROWS_PER_MESSAGE):
        part = slice(start, start + ROWS_PER_MESSAGE)
        arrays = (ids_U[part].tobytes(), values_UD[part].tobytes(), removed[part].tobytes())
        yield Change(sequence, previous, name, dim, *arrays, run)
