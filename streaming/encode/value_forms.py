"""What a value is as an id, by its text, and as a number.

Ids are xxh3_64 of the text as UTF-8, seeded by the hash of the table's name. As text a str is itself, bools are "true"
and "false", whole numbers are decimal, so that 5, 5.0 and "5" are one id.
Shape suffix: B values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import xxhash

from recsys.errors import InvalidValueError
from streaming.encode.feature_spec import Field
from streaming.events.schema import Value

Refuse = Callable[[Field, object], None]
"""What is done about a value of the wrong kind; if it returns, the value is missing."""

MISSING = "\x00missing"
"""What a categorical field without a value is hashed from: its id is learned like any other."""

_FLOAT64 = float(np.finfo(np.float64).max)


class Hashes(dict[str, int]):
    """Ids of one table by text; forgets all when full."""

    def __init__(self, table: str, capacity: int) -> None:
        self.seed = xxhash.xxh3_64_intdigest(table.encode())
        self._capacity = capacity

    def __missing__(self, text: str) -> int:
        if len(self) >= self._capacity:
            self.clear()
        self[text] = id_ = xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"), seed=self.seed)
        return id_


def ignore(_field: Field, _value: object) -> None:
    """A value that is missing instead."""


def refuse_value(field: Field, value: object) -> None:
    wanted = "a finite number" if field.kind == "numeric" else "a string, a number or a bool"
    raise InvalidValueError(f"field {field.name!r} takes {wanted}, not {value!r}")


def text_of(field: Field, value: object, refuse: Refuse) -> str:
    match value:
        case None:
            return MISSING
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    refuse(field, value)
    return MISSING


def floats_of(values: Sequence[Value]) -> npt.NDArray[np.float64] | None:
    """The values [B] where all are numbers that float64 holds, as in most columns; else None."""
    if set(map(type, values)) <= {float, int}:
        with suppress(OverflowError):
            return np.array(values, np.float64)
    return None


def number_of(field: Field, value: object, refuse: Refuse) -> float:
    """NaN when missing: after the transform it stays NaN for the scaling, or becomes 0 where there is none."""
    match value:
        case None:
            return math.nan
        case bool() | int() | float() if abs(value) <= _FLOAT64:
            return float(value)
    refuse(field, value)
    return math.nan
