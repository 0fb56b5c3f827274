"""Silence at one age, so that a test knows when it is learned."""

from __future__ import annotations

from streaming.join.silence.click_delays import ClickDelays


class FixedAge(ClickDelays):
    """Silence is learned at `age` (ms), whatever the clicks do."""

    def __init__(self, age: int) -> None:
        super().__init__(wait=1000)
        self._age = age

    def age(self, draw: float) -> int:
        return self._age
