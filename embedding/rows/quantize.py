"""Smaller copies of embedding rows for serving. Suffixes: U rows, D dimension.

The error of `half` is at most 2^-11 of a value (2^-25 for values below 2^-14). That of `Int8Rows` is at most one step
of its row, max|row| / 127, and zero on average: it rounds up with the probability that makes the mean exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from embedding.store import Floats, Ids
from recsys.errors import InvalidValueError


def half(values_UD: Floats) -> npt.NDArray[np.float16]:
    """Rows [U, D] in two bytes per value, rounded to the nearest. Raises InvalidValueError beyond +-65504.

    >>> half(np.array([[0.1]], np.float32)).nbytes
    2
    """
    largest = np.abs(values_UD).max(initial=0.0)
    if not largest <= 65504:
        raise InvalidValueError(f"a row holds {largest}, half precision ends at 65504: keep this table in float32")
    return values_UD.astype(np.float16)


@dataclass(frozen=True, slots=True)
class Int8Rows:
    """Rows in one byte per value and a scale of four bytes per row.

    >>> rows = Int8Rows.of(np.array([[1.0, -0.5]], np.float32), np.array([7], np.uint64))
    >>> float(abs(rows.values() - np.array([[1.0, -0.5]])).max()) <= 1 / 127
    True
    """

    codes_UD: npt.NDArray[np.int8]
    scales_U: Floats

    @classmethod
    def of(cls, values_UD: Floats, ids_U: Ids, step: int = 0) -> Int8Rows:
        """Stochastic rounding by hash(id, step, position): the same arguments give the same codes everywhere.

        Raises InvalidValueError for values that are not finite.
        """
        if not np.isfinite(values_UD).all():
            raise InvalidValueError("a row holds NaN or infinity: the model that made it diverged")
        scales_U = (np.abs(values_UD).max(axis=1, initial=0.0) / 127).astype(np.float32)
        safe_U1 = np.where(scales_U > 0, scales_U, np.float32(1))[:, None]
        keys_U1: Ids = mix(ids_U + np.uint64(step))[:, None]
        bits_UD = mix(keys_U1 + np.arange(values_UD.shape[1]).astype(np.uint64)) >> np.uint64(40)
        noise_UD = bits_UD.astype(np.float32) * np.float32(2.0**-24)
        codes_UD = np.floor(values_UD / safe_U1 + noise_UD).clip(-127, 127)
        return cls(codes_UD.astype(np.int8), scales_U)

    def values(self) -> Floats:
        """The rows [U, D] in float32."""
        return self.codes_UD.astype(np.float32) * self.scales_U[:, None]
