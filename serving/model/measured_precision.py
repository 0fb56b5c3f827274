"""What a model scores in, and how far that is from float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reduced = Literal["bfloat16", "mixed"]
"""All that is computed, or the products that change scores least; the rest in float32."""


@dataclass(frozen=True, slots=True)
class MeasuredPrecision:
    """`error` is the largest difference of the log odds from those in float32, of the latest requests; None before any
    were compared.

    `reason` says why nothing less than float32 is used; empty if it is. It is `pending` until the first requests have
    been compared, as it is after every start.
    """

    used: Literal["float32", "bfloat16", "mixed"]
    error: float | None = None
    reason: str = ""
    pending: bool = False
