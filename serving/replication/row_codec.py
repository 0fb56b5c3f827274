"""Embedding rows as they lie in Redis, in one of three precisions that the bytes alone tell apart.

| precision | bytes of a row | layout, little-endian |
|---|---|---|
| float32 | 4 D | the values |
| half | 1 + 2 D | tag 1, the values |
| int8 | 5 + D, 6 + D where D is odd | tag 2 (3 where D is odd), a scale in float32, the codes, padding where D is odd |

float32 has no tag, so only the others have an odd length: no row is taken for one of another precision or dimension.
`embedding.rows.quantize` says how far a row is off.

Shape suffixes: U distinct ids, N rows, D embedding dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from embedding.rows.quantize import Int8Rows, half
from embedding.store import Floats, Ids

Precision = Literal["float32", "half", "int8"]

_LARGEST = 65504
"""Of half precision; rows beyond it diverge, so int8 keeps off them, too."""
_ROWS_AT_ONCE = 8192
"""Bounds the memory that rounding takes."""


def encode(values_UD: Floats, ids_U: Ids, precision: Precision, draw: int) -> list[bytes]:
    """Rows as bytes. Those that `diverged` are kept in float32, whatever the precision.

    int8 rounds at random from hash(id, draw, position), so the same arguments give the same bytes.

    >>> [len(row) for row in encode(np.ones((1, 16), np.float32), np.array([7], np.uint64), "int8", draw=1)]
    [21]
    """
    rows: list[bytes] = []
    for start in range(0, len(ids_U), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        rows += _encode(values_UD[part], ids_U[part], precision, draw)
    return rows


def decode(rows: Sequence[bytes], dim: int) -> Floats:
    """The reverse, for rows of any precision side by side: values [N, dim] in float32.

    Raises ValueError when a row is damaged or has another dimension.
    """
    if all(len(row) == 4 * dim for row in rows):
        return np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), dim)
    kinds: dict[tuple[int, bytes], list[int]] = {}
    for place, row in enumerate(rows):
        kinds.setdefault((len(row), row[: len(row) % 2]), []).append(place)
    dims = {_dim(length, tag) for length, tag in kinds}
    if dims != {dim}:
        raise ValueError(
            f"rows have {sorted(dims)} values where the model's dimension is {dim}: "
            f"publish all rows of the model again, as a trainer does that starts"
        )
    values_ND = np.empty((len(rows), dim), np.float32)
    for (_, tag), places in kinds.items():
        values_ND[places] = _values(b"".join([rows[place] for place in places]), tag, dim)
    return values_ND


def diverged(values_UD: Floats) -> npt.NDArray[np.bool_]:
    """Which rows [U] hold NaN, infinity or a number that half precision cannot."""
    largest_U: Floats = np.abs(values_UD).max(axis=1, initial=0)
    return ~(largest_U <= _LARGEST)


def _encode(values_UD: Floats, ids_U: Ids, precision: Precision, draw: int) -> list[bytes]:
    whole = _split(np.ascontiguousarray(values_UD, "<f4"))
    if precision == "float32":
        return whole
    diverged_U = diverged(values_UD)
    tame_UD = np.where(diverged_U[:, None], np.float32(0), values_UD)
    small = _half(tame_UD) if precision == "half" else _int8(Int8Rows.of(tame_UD, ids_U, draw))
    return [w if d else s for w, s, d in zip(whole, small, diverged_U.tolist(), strict=True)]


def _half(values_UD: Floats) -> list[bytes]:
    rows_U = np.empty(len(values_UD), _half_layout(values_UD.shape[1]))
    rows_U["tag"], rows_U["values"] = 1, half(values_UD)
    return _split(rows_U)


def _int8(rows: Int8Rows) -> list[bytes]:
    dim = rows.codes_UD.shape[1]
    rows_U = np.zeros(len(rows.codes_UD), _int8_layout(dim))
    rows_U["tag"], rows_U["scale"], rows_U["codes"] = 2 + dim % 2, rows.scales_U, rows.codes_UD
    return _split(rows_U)


def _half_layout(dim: int) -> np.dtype[np.void]:
    return np.dtype([("tag", "u1"), ("values", "<f2", (dim,))])


def _int8_layout(dim: int) -> np.dtype[np.void]:
    return np.dtype([("tag", "u1"), ("scale", "<f4"), ("codes", "i1", (dim,)), ("padding", "u1", (dim % 2,))])


def _split(rows: npt.NDArray[np.float32] | npt.NDArray[np.void]) -> list[bytes]:
    data = rows.tobytes()
    size = len(data) // len(rows)
    return [data[start : start + size] for start in range(0, len(data), size)]


def _dim(length: int, tag: bytes) -> int:
    """Values of a row. Raises ValueError when no row is that long."""
    if not tag and length % 4 == 0:
        return length // 4
    if tag == b"\1":
        return (length - 1) // 2
    if tag == b"\2" and length > 5:
        return length - 5
    if tag == b"\3" and length > 5:
        return length - 6
    raise ValueError(
        f"a row of {length} bytes{f' with tag {tag[0]}' if tag else ''} is damaged, or of a newer version: update this "
        f"server, then publish all rows of the model again, as a trainer does that starts"
    )


def _values(data: bytes, tag: bytes, dim: int) -> Floats:
    if not tag:
        return np.frombuffer(data, "<f4").reshape(-1, dim)
    if tag == b"\1":
        return np.frombuffer(data, _half_layout(dim))["values"].astype(np.float32)
    rows_N = np.frombuffer(data, _int8_layout(dim))
    return Int8Rows(rows_N["codes"], rows_N["scale"]).values()
