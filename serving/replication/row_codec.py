"""Embedding rows as stored in Redis, in one of three precisions, which the bytes alone distinguish.

| precision | bytes of a row | layout, little-endian |
|---|---|---|
| float32 | 4 D | the values |
| half | 1 + 2 D | tag 1, the values |
| int8 | 5 + D, 6 + D where D is odd | tag 2 (3 where D is odd), a scale in float32, the codes, padding where D is odd |

float32 has no tag, so only the others have an odd length: no row is taken for one of another precision or dimension.
`embedding.rows.quantize` gives the rounding error.

Shape suffixes: U distinct ids, N rows, D embedding dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from embedding.rows.quantize import Int8Rows, half
from embedding.store import Floats, Ids
from recsys.errors import InvalidValueError

Precision = Literal["float32", "half", "int8"]

_LARGEST = 65504
"""Largest value of half precision. Larger values count as diverged, for int8 as well."""
_ROWS_AT_ONCE = 8192
"""Rows rounded at once, which bounds the memory needed."""


@dataclass(frozen=True, slots=True)
class EncodedPart:
    """Some rows as bytes, with the values [U, D] that a reader decodes from them."""

    ids_U: Ids
    rows: list[bytes]
    values_UD: Floats
    diverged: int
    """Rows kept in float32 because another precision cannot hold them; 0 when the precision is float32."""


def encode(values_UD: Floats, ids_U: Ids, precision: Precision, step: int) -> list[bytes]:
    """Rows as bytes; rows that `diverged` stay in float32, whatever the precision.

    int8 rounds stochastically by hash(id, step, position), so the same arguments give the same bytes.

    >>> [len(row) for row in encode(np.ones((1, 16), np.float32), np.array([7], np.uint64), "int8", step=1)]
    [21]
    """
    return [row for part in encode_parts(values_UD, ids_U, precision, step) for row in part.rows]


def encode_parts(values_UD: Floats, ids_U: Ids, precision: Precision, step: int) -> Iterator[EncodedPart]:
    """Encode in parts, which bounds the memory needed for rounding."""
    for start in range(0, len(ids_U), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        yield _encode(values_UD[part], ids_U[part], precision, step)


def decode(rows: Sequence[bytes], dim: int) -> Floats:
    """The inverse of `encode`, for rows of any mix of precisions: values [N, dim] in float32.

    Raises ValueError when a row is damaged or has another dimension.
    """
    if all(len(row) == 4 * dim for row in rows):
        return np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), dim)
    kinds: dict[tuple[int, bytes], list[int]] = {}
    for place, row in enumerate(rows):
        kinds.setdefault((len(row), row[: len(row) % 2]), []).append(place)
    dims = {_dim(length, tag) for length, tag in kinds}
    if dims != {dim}:
        raise InvalidValueError(
            f"rows have {sorted(dims)} values where the model's dimension is {dim}: "
            f"publish all rows of the model again; starting its trainer does so"
        )
    values_ND = np.empty((len(rows), dim), np.float32)
    for (_, tag), places in kinds.items():
        values_ND[places] = _values(b"".join([rows[place] for place in places]), tag, dim)
    return values_ND


def diverged(values_UD: Floats) -> npt.NDArray[np.bool_]:
    """Which rows [U] hold NaN, infinity or a number that half precision cannot."""
    largest_U: Floats = np.abs(values_UD).max(axis=1, initial=0)
    return ~(largest_U <= _LARGEST)


def _encode(values_UD: Floats, ids_U: Ids, precision: Precision, step: int) -> EncodedPart:
    whole = _split(np.ascontiguousarray(values_UD, "<f4"))
    if precision == "float32":
        return EncodedPart(ids_U, whole, values_UD, 0)
    diverged_U = diverged(values_UD)
    finite_UD = np.where(diverged_U[:, None], np.float32(0), values_UD)
    small, rounded_UD = _half(finite_UD) if precision == "half" else _int8(Int8Rows.of(finite_UD, ids_U, step))
    rows = [w if d else s for w, s, d in zip(whole, small, diverged_U.tolist(), strict=True)]
    as_read_UD = np.where(diverged_U[:, None], values_UD, rounded_UD)
    return EncodedPart(ids_U, rows, as_read_UD, int(diverged_U.sum()))


def _half(values_UD: Floats) -> tuple[list[bytes], Floats]:
    """Rows as bytes, and as values after rounding."""
    rows_U = np.empty(len(values_UD), _half_layout(values_UD.shape[1]))
    rows_U["tag"], rows_U["values"] = 1, half(values_UD)
    return _split(rows_U), rows_U["values"].astype(np.float32)


def _int8(rows: Int8Rows) -> tuple[list[bytes], Floats]:
    """Rows as bytes, and as values after rounding."""
    dim = rows.codes_UD.shape[1]
    rows_U = np.zeros(len(rows.codes_UD), _int8_layout(dim))
    rows_U["tag"], rows_U["scale"], rows_U["codes"] = 2 + dim % 2, rows.scales_U, rows.codes_UD
    return _split(rows_U), rows.values()


def _half_layout(dim: int) -> np.dtype[np.void]:
    return np.dtype([("tag", "u1"), ("values", "<f2", (dim,))])


def _int8_layout(dim: int) -> np.dtype[np.void]:
    return np.dtype([("tag", "u1"), ("scale", "<f4"), ("codes", "i1", (dim,)), ("padding", "u1", (dim % 2,))])


def _split(rows: npt.NDArray[np.float32] | npt.NDArray[np.void]) -> list[bytes]:
    data = rows.tobytes()
    size = len(data) // len(rows)
    return [data[start : start + size] for start in range(0, len(data), size)]


def _dim(length: int, tag: bytes) -> int:
    """Number of values in a row of this length. Raises ValueError when no row has this length."""
    if not tag and length % 4 == 0:
        return length // 4
    if tag == b"\1":
        return (length - 1) // 2
    if tag == b"\2" and length > 5:
        return length - 5
    if tag == b"\3" and length > 5:
        return length - 6
    raise InvalidValueError(
        f"a row of {length} bytes{f' with tag {tag[0]}' if tag else ''} is damaged, or of a newer version: update this "
        f"server, then publish all rows of the model again; starting its trainer does so"
    )


def _values(data: bytes, tag: bytes, dim: int) -> Floats:
    if not tag:
        return np.frombuffer(data, "<f4").reshape(-1, dim)
    if tag == b"\1":
        return np.frombuffer(data, _half_layout(dim))["values"].astype(np.float32)
    rows_N = np.frombuffer(data, _int8_layout(dim))
    return Int8Rows(rows_N["codes"], rows_N["scale"]).values()
