"""Counts that halve with event time, kept as logarithms, which do not change as time passes."""

from __future__ import annotations

import math


def grown(logarithm: float, time: int, half_life: int, weight: float = 1.0) -> float:
    """log2 of a decayed count after one more event at `time` (ms): log2(2^logarithm + weight 2^(time / half_life)).

    At time t the count is 2^(logarithm - t / half_life); the logarithm of an empty count is minus infinity.

    >>> grown(grown(-math.inf, 0, 1000), 1000, 1000) == math.log2(1 + 2)
    True
    """
    one = time / half_life + (math.log2(weight) if weight != 1 else 0)
    high, low = max(logarithm, one), min(logarithm, one)
    return high + math.log2(1 + 2.0 ** (low - high))
