"""Tensors of a snapshot that are read and checked in a thread of their own, while their ids get rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from embedding.store import Floats
from recsys.errors import TornCheckpointError

_BLOCK = 1 << 22  # bytes; read and hashed while they are in the processor's cache

Rooms = Mapping[str, Floats]
"""Flat memory by the name of the tensor that may be read into it."""
Take = Callable[[str, Path, int, tuple[int, ...], str], npt.NDArray[Any] | None]
"""Of a tensor's name, file, first byte, shape and checksum: the memory into which it is being read; None for none."""


def mapped(*_: object) -> None:
    """A `Take` of nothing: tensors stay in their files."""


class Arriving:
    """Reads tensors into the memory of the rows they become, rather than through a mapping and once more: `rooms` by
    table.

    A context manager: when its block ends without an error, all have arrived. Raises TornCheckpointError there if one
    differs from its checksum.

    >>> with Arriving({"item": {}}) as arriving:
    ...     arriving.into("item")("weights", Path("none"), 0, (2, 4), "") is None
    True
    """

    def __init__(self, rooms: Mapping[str, Rooms]) -> None:
        self._rooms = rooms
        self._pool = ThreadPoolExecutor(1, "arriving")
        self._begun: list[Future[None]] = []

    def into(self, table: str) -> Take:
        """For the tensors of a table, as far as there is room for them."""
        return partial(self._take, self._rooms[table])

    def _take(
        self, rooms: Rooms, name: str, path: Path, begin: int, shape: tuple[int, ...], checksum: str
    ) -> npt.NDArray[Any] | None:
        size = int(np.prod(shape))
        if name not in rooms or len(rooms[name]) < size:
            return None
        array = rooms[name][:size]
        self._begun.append(self._pool.submit(_read, path, name, begin, array, checksum))
        return array.reshape(shape)

    def __enter__(self) -> Arriving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for each in self._begun:
                each.result()


def _read(path: Path, name: str, begin: int, array: Floats, checksum: str) -> None:
    view, digest = array.view(np.uint8).data, xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        file.seek(begin)
        while len(view):
            got = file.readinto(view[:_BLOCK])
            if not got:
                raise TornCheckpointError(f"{path} is damaged (ends within {name!r}): load an earlier snapshot")
            digest.update(view[:got])
            view = view[got:]
    if digest.hexdigest() != checksum:
        raise TornCheckpointError(f"{path} is damaged (checksum of {name!r}): load an earlier snapshot")
