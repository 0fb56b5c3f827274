"""safetensors files written piece by piece, each tensor with a checksum (XXH3, 128 bits).

The format is safetensors' own: eight bytes of header length, a JSON header, the tensors. Its library only
writes whole arrays from memory, and a store may be larger than the free memory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from embedding.snapshot.arriving import Take, mapped
from embedding.table_state import Arrays
from recsys.errors import TornCheckpointError

Layout = dict[str, tuple[npt.DTypeLike, tuple[int, ...]]]
_CODES = {"uint64": "U64", "int64": "I64", "uint32": "U32", "int32": "I32", "uint8": "U8", "float32": "F32"}
_TYPES = {code: np.dtype(name) for name, code in _CODES.items()}


class TensorWriter:
    """A file of tensors of known shapes, each filled from front to back.

    A context manager: the file is on disk when the block ends without an error. Raises OSError if the disk is full; the
    file is then incomplete, and no manifest names it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "one.safetensors"
    ...     with TensorWriter(path, {"ids": (np.uint64, (2,))}, {}) as writer:
    ...         writer.write("ids", np.array([7], np.uint64))
    ...         writer.write("ids", np.array([8], np.uint64))
    ...     read_arrays(path, writer.checksums)[0]["ids"].tolist()
    [7, 8]
    """

    def __init__(self, path: Path, layout: Layout, meta: dict[str, Any]) -> None:
        entries: dict[str, Any] = {"__metadata__": {"meta": json.dumps(meta)}}
        end = 0
        self._next: dict[str, int] = {}
        self._left: dict[str, int] = {}
        for name, (dtype, shape) in layout.items():
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            entries[name] = {"dtype": _CODES[np.dtype(dtype).name], "shape": shape, "data_offsets": [end, end + size]}
            self._next[name], self._left[name] = end, size
            end += size
        header = json.dumps(entries).encode()
        header += b" " * (-len(header) % 8)
        head = len(header).to_bytes(8, "little") + header
        self._next = {name: offset + len(head) for name, offset in self._next.items()}
        self._hashes = {name: xxhash.xxh3_128() for name in layout}
        self._path, self._head = path, head

    def __enter__(self) -> TensorWriter:
        self._file = self._path.open("wb", buffering=0)
        try:
            self._write(self._head, 0)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Sync the file to disk, unless an error left it incomplete."""
        with self._file:
            if kind is None:
                if any(self._left.values()):
                    raise ValueError(f"incomplete tensors: {[n for n, k in self._left.items() if k]}")
                os.fsync(self._file.fileno())

    @property
    def checksums(self) -> dict[str, str]:
        """By tensor; the key of the header is ""."""
        hashes = {name: each.hexdigest() for name, each in self._hashes.items()}
        return {"": xxhash.xxh3_128(self._head).hexdigest(), **hashes}

    def _write(self, data: Any, offset: int) -> None:
        view = memoryview(data).cast("B")
        while len(view):
            done = os.pwrite(self._file.fileno(), view, offset)
            view, offset = view[done:], offset + done

    def write(self, name: str, array: npt.NDArray[Any]) -> None:
        """Append values to a tensor."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if len(data) > self._left[name]:
            raise ValueError(f"tensor {name!r} has room for {self._left[name]} more bytes, {len(data)} were given")
        self._hashes[name].update(data.data)
        self._write(data, self._next[name])
        self._next[name] += len(data)
        self._left[name] -= len(data)


def write_arrays(path: Path, arrays: Arrays, meta: dict[str, Any]) -> dict[str, str]:
    """Write whole arrays; returns the checksums."""
    with TensorWriter(path, {name: (array.dtype, array.shape) for name, array in arrays.items()}, meta) as writer:
        for name, array in arrays.items():
            writer.write(name, array)
    return writer.checksums


def read_arrays(path: Path, checksums: dict[str, str], take: Take = mapped) -> tuple[Arrays, dict[str, Any]]:
    """The tensors, mapped from the file or where `take` reads them to, and the metadata.

    Raises TornCheckpointError naming what is damaged.
    """
    if not path.exists():
        raise TornCheckpointError(f"{path} is missing")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        length = int.from_bytes(head, "little")
        head += file.read(length) if length < size else b""
    if xxhash.xxh3_128(head).hexdigest() != checksums[""]:
        raise TornCheckpointError(f"{path} is damaged (header)")
    entries = json.loads(head[8:])
    meta: dict[str, Any] = json.loads(entries.pop("__metadata__")["meta"])
    arrays: Arrays = {}
    for name, entry in entries.items():
        begin, end = (offset + len(head) for offset in entry["data_offsets"])
        if end > size:
            raise TornCheckpointError(f"{path} is damaged (ends within {name!r})")
        kind, shape = _TYPES[entry["dtype"]], tuple(entry["shape"])
        if (taken := take(name, path, begin, shape, checksums[name])) is not None:
            arrays[name] = taken
            continue
        array: npt.NDArray[Any] = np.zeros(shape, kind)
        if end > begin:
            array = np.memmap(path, kind, "c", begin, shape).view(np.ndarray)  # private: writes never reach it
        if xxhash.xxh3_128(array.reshape(-1).view(np.uint8).data).hexdigest() != checksums[name]:
            raise TornCheckpointError(f"{path} is damaged (checksum of {name!r})")
        arrays[name] = array
    return arrays, meta
