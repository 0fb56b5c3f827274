"""Publishes the vectors of items, by which servers find candidates.

Shape suffixes: N items, E coordinates of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from redis.client import Pipeline

from embedding.store import Floats
from serving.replication.delta_messages import Message, VectorChange, VectorReset, encode
from serving.replication.keys import ModelKeys
from serving.replication.publish.redis_writer import RedisWriter, add_message
from serving.replication.shared_reads import scan_vectors

ITEMS_PER_MESSAGE = 4096
_Vectors = dict[bytes, bytes]


class VectorPublisher:
    """Writes the vectors of one run: one field of a hash for each item. Raises PublishError and LeaseError as
    `RedisWriter` does; every call can be repeated."""

    def __init__(self, writer: RedisWriter, keys: ModelKeys) -> None:
        self._redis, self._keys = writer, keys

    def change(self, items: Sequence[str], vectors_NE: Floats, removed: Sequence[str] = ()) -> None:
        """Replace the vectors of `items`, remove those of `removed`, and announce both."""
        for start in range(0, max(len(items), len(removed)), ITEMS_PER_MESSAGE):
            part = slice(start, start + ITEMS_PER_MESSAGE)
            message = VectorChange(list(items[part]), _bytes(vectors_NE[part]), list(removed[part]), self._keys.run)
            self._write(message.items, vectors_NE[part], message.removed, message)

    def write(self, items: Sequence[str], vectors_NE: Floats) -> None:
        """Replace the vectors of `items`, unannounced: a part of all, which `complete` announces."""
        for start in range(0, len(items), ITEMS_PER_MESSAGE):
            part = slice(start, start + ITEMS_PER_MESSAGE)
            self._write(items[part], vectors_NE[part], (), None)

    def complete(self, exists: Callable[[str], bool]) -> None:
        """Remove the vectors of items that do not exist, then let servers read all anew."""
        for page in self._pages(self._keys):
            gone = [name for name in page if not exists(name.decode())]
            if gone:
                self._redis.write(lambda pipe, gone=gone: pipe.hdel(self._keys.vectors, *gone))  # type: ignore[misc]
        self._redis.announce(self._keys.deltas, encode(VectorReset(self._keys.run)))

    def copy_from(self, source: ModelKeys) -> None:
        """Replace all vectors by those of another model or run."""
        self._redis.unlink([self._keys.vectors])
        for page in self._pages(source):
            self._redis.write(partial(_hset, self._keys.vectors, page))

    def _write(self, items: Sequence[str], vectors_NE: Floats, removed: Sequence[str], news: Message | None) -> None:
        """In one transaction, so that no server is told of what is not there."""

        def fill(pipe: Pipeline) -> None:
            if items:
                encoded = zip(items, vectors_NE.astype("<f2"), strict=True)
                _hset(self._keys.vectors, {name.encode(): vector_E.tobytes() for name, vector_E in encoded}, pipe)
            if removed:
                pipe.hdel(self._keys.vectors, *removed)
            if news is not None:
                add_message(pipe, self._keys.deltas, encode(news))

        self._redis.write(fill)

    def _pages(self, keys: ModelKeys) -> Iterator[_Vectors]:
        cursor = 0
        while True:
            cursor, page = self._redis.do(partial(scan_vectors, self._redis.client, keys, cursor))
            if page:
                yield page
            if cursor == 0:
                return


def _hset(key: str, vectors: _Vectors, pipe: Pipeline) -> None:
    pipe.hset(key, mapping=vectors)  # type: ignore[arg-type]


def _bytes(vectors_NE: Floats) -> bytes:
    return np.ascontiguousarray(vectors_NE, "<f2").tobytes()
