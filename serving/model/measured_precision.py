"""What a model scores in, and how far that is from float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MeasuredPrecision:
    """`error` is the largest difference of the log odds from those in float32, of the latest requests; None before any
    were compared.

    `reason` says why bfloat16 is not used; empty if it is. It is `pending` until the first requests have been compared,
    as it is after every start.
    """

    used: Literal["float32", "bfloat16"]
    error: float | None = None
    reason: str = ""
    pending: bool = False
