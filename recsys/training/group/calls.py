"""A call of the leading process, as bytes for the others. MessagePack and safetensors: nothing in it can run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from safetensors.numpy import load, save

from streaming.encode.batch import Jagged, TrainingBatch

_VALUES, _LENGTHS, _COLUMN = "values ", "lengths ", "column "


@dataclass(frozen=True, slots=True)
class Call:
    """The name of what every process does now, with its arguments."""

    name: str
    words: tuple[str | int, ...] = ()
    batch: TrainingBatch | None = None


class _Message(msgspec.Struct, array_like=True, frozen=True):
    name: str
    words: tuple[str | int, ...]
    now: int
    cursor: tuple[int, ...]
    fields: tuple[str, ...]
    """In the order of the batch's ids."""
    arrays: bytes
    clock: int = 0


def encode(call: Call) -> bytes:
    batch = call.batch
    if batch is None:
        return msgspec.msgpack.encode(_Message(call.name, call.words, 0, (), (), b""))
    arrays = {_COLUMN + name: getattr(batch, name) for name in batch.columns()}
    for name, jagged in batch.ids.items():
        arrays |= {_VALUES + name: jagged.values, _LENGTHS + name: jagged.lengths_B}
    return msgspec.msgpack.encode(
        _Message(call.name, call.words, batch.now, tuple(batch.cursor), tuple(batch.ids), save(arrays), batch.clock)
    )


def decode(data: bytes) -> Call:
    """Raises msgspec.DecodeError (a ValueError) if the bytes are no call."""
    message = msgspec.msgpack.decode(data, type=_Message)
    if not message.arrays:
        return Call(message.name, message.words)
    arrays = load(message.arrays)
    columns: dict[str, Any] = {name: arrays[_COLUMN + name] for name in TrainingBatch.columns()}
    ids = {name: Jagged(arrays[_VALUES + name], arrays[_LENGTHS + name]) for name in message.fields}
    place: dict[str, Any] = {"now": message.now, "clock": message.clock, "cursor": message.cursor}
    return Call(message.name, message.words, TrainingBatch(ids=ids, **columns, **place))
