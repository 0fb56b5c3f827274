"""A copy of all multiplexed rows, which ids without a row of their own share: a few thousand, so they fit in memory.

Shape suffixes: N ids of one table, U changed rows, S shared rows, D embedding dimension.
"""

from __future__ import annotations

import logging
import threading
from typing import cast

import msgspec
import numpy as np

from embedding.hashing import fallback_slots
from embedding.store import Fallback, TableDelta
from recsys.errors import InvalidValueError
from serving.cache.row_store import Dims, EmbeddingRows, Floats, Ids, decode
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import ModelKeys

_logger = logging.getLogger(__name__)
_rules: msgspec.json.Decoder[dict[str, Fallback]] = msgspec.json.Decoder(dict[str, Fallback])
_MAX_SLOTS = 1 << 20
"""More than this is damage, and would exhaust the memory."""


class FallbackRowCache:
    """Multiplexed rows of one run of a published model; in tables without them, ids without a row read zeros.

    One thread loads and applies changes while many fill in rows. No row is seen half written.
    """

    def __init__(self, keys: ModelKeys, dims: Dims) -> None:
        self._keys = keys
        self._dims = dims
        self._lock = threading.Lock()
        self._tables: dict[str, tuple[Fallback, Floats]] = {}
        """By table: its rule, and the rows [S, D], which tables may have in common."""

    def load(self, client: RedisClient) -> None:
        """Load the rows that Redis holds. Raises redis.RedisError and keeps the previous ones.

        Unreadable rows are left out: they may belong to a model of another dimension whose new rows follow.
        """
        data = cast(bytes | None, client.get(self._keys.fallback))
        try:
            known = {} if data is None else _rules_of(data)
            rules = {table: rule for table, rule in known.items() if table in self._dims}
            shared = {rule.rows: (rule.slots, self._dims[table]) for table, rule in rules.items()}
            rows = {name: self._read(client, name, slots, dim) for name, (slots, dim) in shared.items()}
            self._tables = {table: (rule, rows[rule.rows]) for table, rule in rules.items()}
        except ValueError as error:
            _logger.warning("model %r: ids without a row read zeros for now: %s", self._keys.model, error)
            self._tables = {}

    def _read(self, client: RedisClient, name: str, slots: int, dim: int) -> Floats:
        names = self._keys.rows(name, np.arange(slots, dtype=np.uint64))
        return decode(cast(list[bytes | None], client.mget(names)), dim).values_ND

    def apply(self, table: str, change: TableDelta) -> None:
        """Apply changed rows if the table is multiplexed. Raises InvalidValueError for a row beyond its slots."""
        held = next((rows_SD for rule, rows_SD in self._tables.values() if rule.rows == table), None)
        if held is None or not len(change.ids_U):
            return
        if change.ids_U.max() >= len(held):
            raise InvalidValueError(f"row {change.ids_U.max()} of {table!r} changed, which has {len(held)} rows")
        with self._lock:
            held[change.ids_U.astype(np.int64)] = change.values_UD

    def fill(self, table: str, ids_N: Ids, rows: EmbeddingRows) -> None:
        """Fill in the shared row of each id without one."""
        held = self._tables.get(table)
        if held is None or rows.found_N.all():
            return
        rule, held_SD = held
        lost_N = ~rows.found_N
        slots = fallback_slots(ids_N[lost_N], np.uint64(rule.salt), rule.slots)
        with self._lock:
            rows.values_ND[lost_N] = held_SD[slots]


def _rules_of(data: bytes) -> dict[str, Fallback]:
    """Raises ValueError when the bytes are damaged."""
    rules = _rules.decode(data)
    for table, rule in rules.items():
        if not (1 <= rule.slots <= _MAX_SLOTS and 0 <= rule.salt < 1 << 64):
            raise InvalidValueError(
                f"the fallback of table {table!r} is damaged: {rule}; publish the model again in full"
            )
    return rules
