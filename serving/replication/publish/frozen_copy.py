"""A copy of a published model that nobody trains: the fixed arm of an experiment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from recsys.errors import InvalidValueError
from serving.model.artefact import Artefact
from serving.replication import delta_messages, trainer_status
from serving.replication.keys import ModelKeys
from serving.replication.publish.redis_writer import RedisWriter
from serving.replication.publish.served_run import ServedRun
from serving.replication.publish.vector_publisher import VectorPublisher
from serving.replication.shared_reads import served


def freeze(reader: RedisWriter, model: str, name: str, progress: Callable[[int], None] | None = None) -> int:
    """See `Publisher.freeze`."""
    client = reader.client
    target = client.names.model(name)
    if name == model:
        raise InvalidValueError(f"model {name!r} cannot be frozen into itself: choose another name")
    source = client.names.model(model, reader.do(lambda: served(client, model)) or "")
    data = reader.do(lambda: cast(bytes | None, client.get(source.artefact)))
    if data is None:
        raise InvalidValueError(f"model {model!r} has not been published yet: publish its artefact, then freeze it")
    writer = RedisWriter(client, name)
    writer.unlink([target.figures])
    rows = 0
    for page in reader.pages(source.all_rows):
        rows += _copy_rows(writer, page, source, target)
        if progress is not None:
            progress(rows)
    for page in reader.pages(target.all_rows):
        _remove_missing(writer, page, source, target)
    VectorPublisher(writer, target).copy_from(source)
    fallback = reader.do(lambda: cast(bytes | None, client.get(source.fallback)))
    writer.set_one(target.fallback, fallback or b"{}")
    writer.set(target.sequences, [b"0:"] * len(target.sequences))
    writer.set_one(target.artefact, data)
    writer.announce(target.deltas, delta_messages.encode(delta_messages.Reset(0)))
    ServedRun(writer, target, _now).serve(Artefact.from_bytes(data).version)
    writer.set_one(target.figures, trainer_status.encode({trainer_status.ROWS_CHANGED: _now()}, _now()))
    return rows


def _now() -> int:
    return time.time_ns() // 1_000_000


def _copy_rows(writer: RedisWriter, page: list[bytes], source: ModelKeys, target: ModelKeys) -> int:
    names = [key.decode() for key in page]
    values = writer.do(lambda: cast(list[bytes | None], writer.client.mget(names)))
    pairs = [(target.as_of(source, k), v) for k, v in zip(page, values, strict=True) if v]
    writer.set([k for k, _ in pairs], [v for _, v in pairs])
    return len(pairs)


def _remove_missing(writer: RedisWriter, page: list[bytes], source: ModelKeys, target: ModelKeys) -> None:
    """Remove rows of the copy that the source does not have."""
    originals = [source.as_of(target, key) for key in page]
    values = writer.do(lambda: writer.client.mget(originals))
    writer.unlink([key.decode() for key, value in zip(page, values, strict=True) if value is None])
