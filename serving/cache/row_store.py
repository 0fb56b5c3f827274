"""Where serving reads embedding rows from.

Shape suffixes: N ids of one table, D embedding dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import redis

from recsys.errors import RowsUnavailableError
from serving.replication import row_codec
from serving.replication.connection.redis_client import RedisClient
from serving.replication.health import Availability

Ids = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Dims = Mapping[str, int]
"""Dimension of the rows, by table."""


@dataclass(frozen=True, slots=True)
class EmbeddingRows:
    """Values of one table in the order asked for; zeros where `found_N` is false."""

    values_ND: Floats
    found_N: Bools


class RowStore(Protocol):
    """Read access to the rows of one model. Reading a row is atomic: it never mixes two versions."""

    @property
    def dims(self) -> Dims: ...

    def read(self, ids: Mapping[str, Ids]) -> dict[str, EmbeddingRows]:
        """Rows by table, in one round trip. Ids may repeat.

        Raises RowsUnavailableError when the store cannot be reached, ValueError when a row is damaged or has another
        dimension.
        """
        ...


class MemoryRows:
    """Rows in a dict: for tests, and for a trainer that serves in its own process."""

    def __init__(self, dims: Dims) -> None:
        self._dims = dims
        self._rows: dict[tuple[str, int], Floats] = {}

    @property
    def dims(self) -> Dims:
        return self._dims

    def write(self, table: str, ids_N: Ids, values_ND: Floats) -> None:
        copied = values_ND.astype(np.float32)  # a copy of our own
        self._rows.update(zip(((table, int(i)) for i in ids_N), copied, strict=True))

    def remove(self, table: str, ids_N: Ids) -> None:
        for i in ids_N:
            self._rows.pop((table, int(i)), None)

    def read(self, ids: Mapping[str, Ids]) -> dict[str, EmbeddingRows]:
        return {
            table: decode([self._get(table, i) for i in ids_N.tolist()], self._dims[table])
            for table, ids_N in ids.items()
        }

    def _get(self, table: str, i: int) -> bytes | None:
        row = self._rows.get((table, i))
        return None if row is None else row.tobytes()


class RedisRows:
    """Rows of a run in Redis, where `serving.replication.publish.publisher` writes them.

    Nothing is read of a run that is not whole: rows that were lost with Redis, or removed with a run that another one
    replaced, would read as ids without a row. A frozen model, which has no run, is not asked.
    """

    def __init__(
        self, client: RedisClient, model: str, dims: Dims, availability: Availability | None = None, run: str = ""
    ) -> None:
        self._client = client
        self._availability = availability or Availability()
        self._keys = client.names.model(model, run)
        self._dims = dims

    @property
    def dims(self) -> Dims:
        return self._dims

    def read(self, ids: Mapping[str, Ids]) -> dict[str, EmbeddingRows]:
        keys = [key for table, ids_N in ids.items() for key in self._keys.rows(table, ids_N)]
        if not keys:
            return {table: decode([], self._dims[table]) for table in ids}
        if not self._availability.up:
            raise RowsUnavailableError(f"rows of model {self._keys.model!r} cannot be read: Redis does not answer")
        try:
            found = cast(list[bytes | None], self._client.mget([*self._keys.sequences, *keys]))
        except redis.RedisError as error:
            self._availability.up = False
            raise RowsUnavailableError(f"rows of model {self._keys.model!r} cannot be read: {error}") from error
        whole, blobs = found[: len(self._keys.sequences)], found[len(self._keys.sequences) :]
        if None in whole and self._keys.run:
            raise RowsUnavailableError(
                f"rows of model {self._keys.model!r} are not in Redis: its trainer restores them"
            )
        result = {}
        start = 0
        for table, ids_N in ids.items():
            result[table] = decode(blobs[start : start + len(ids_N)], self._dims[table])
            start += len(ids_N)
        return result


def decode(blobs: list[bytes | None], dim: int) -> EmbeddingRows:
    """Rows as stored in Redis, None where there is none.

    Raises ValueError when one is damaged or has another dimension.
    """
    found_N = np.array([blob is not None for blob in blobs], np.bool_)
    values_ND = np.zeros((len(blobs), dim), np.float32)
    values_ND[found_N] = row_codec.decode([blob for blob in blobs if blob is not None], dim)
    return EmbeddingRows(values_ND, found_N)
