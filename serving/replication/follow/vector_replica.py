"""The item vectors of one run, in this process.

Shape suffixes: N items, E coordinates of a vector.
"""

from __future__ import annotations

import logging

import numpy as np

from serving.index.item_index import ItemIndex
from serving.replication.connection.redis_client import RedisClient
from serving.replication.delta_messages import VectorChange
from serving.replication.keys import ModelKeys
from serving.replication.shared_reads import scan_vectors

_logger = logging.getLogger(__name__)


class VectorReplica:
    """Keeps `index` as Redis has it. It is one index for good, which requests may ask at any time."""

    def __init__(self, keys: ModelKeys, size: int) -> None:
        self._keys = keys
        self.index = ItemIndex(size)

    def load(self, client: RedisClient) -> None:
        """Read all vectors; items that Redis does not have are removed at the end. Raises redis.RedisError.

        If it has none, because it was emptied, those that are here stay until the trainer writes them again.
        """
        found: set[str] = set()
        cursor = 0
        while True:
            cursor, page = scan_vectors(client, self._keys, cursor)
            names = [name.decode() for name in page]
            self._put(names, b"".join(page.values()))
            found.update(names)
            if cursor == 0:
                break
        if found:
            self.index.remove(set(self.index.items()) - found)

    def apply(self, change: VectorChange) -> None:
        """Apply an announced change."""
        self._put(change.items, change.vectors)
        self.index.remove(change.removed)

    def _put(self, items: list[str], vectors: bytes) -> None:
        vectors_E = np.frombuffer(vectors, "<f2").astype(np.float32)
        if vectors_E.size != len(items) * self.index.size:
            _logger.error("vectors of %d items have %d bytes, they are ignored", len(items), len(vectors))
            return
        vectors_NE = vectors_E.reshape(-1, self.index.size)
        sound_N = np.flatnonzero(np.isfinite(vectors_NE).all(1))
        if len(sound_N) < len(items):
            _logger.error("%d item vectors are not finite, they are ignored", len(items) - len(sound_N))
            items, vectors_NE = [items[number] for number in sound_N.tolist()], vectors_NE[sound_N]
        self.index.put(items, vectors_NE)
