"""Silence at one age, so that a test knows when it is learned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streaming.join.click_delays import ClickDelays


class FixedAge(ClickDelays):
    """Silence is learned at `age` (ms), whatever the clicks do."""

    def __init__(self, age: int) -> None:
        super().__init__(wait=1000)
        self._age = age
        self.counts.ages[:] = age

    def draw_ages(self) -> npt.NDArray[np.int64]:
        return np.full_like(self.counts.ages, self._age)
