"""How long work of a size takes, by what it took recently."""

from __future__ import annotations

_DECAY = 0.98
"""Weight of an observation against that of the next: the last fifty or so count."""


class ServiceTime:
    """A line through sizes and seconds by least squares, in which older observations weigh less.

    It begins with 1 ms and 1 us for each byte, about what 500 candidates take, which the first fifty requests replace.
    While all sizes are alike there is no slope, and each is expected to take what the others took.

    >>> line = ServiceTime()
    >>> for size in range(0, 10_000, 10):
    ...     line.learn(size, 0.002 + 1e-6 * size)
    >>> round(line.of(20_000), 3)
    0.022
    """

    def __init__(self) -> None:
        self._weight = self._size = self._seconds = 0.0
        self._variance = self._covariance = 0.0
        self.learn(0, 0.001)
        self.learn(10_000, 0.011)

    def learn(self, size: float, seconds: float) -> None:
        """West's update of weighted means and of the sums of squares about them (doi:10.1145/359146.359153)."""
        self._weight = _DECAY * self._weight + 1
        off = size - self._size
        self._size += off / self._weight
        self._seconds += (seconds - self._seconds) / self._weight
        self._variance = _DECAY * self._variance + off * (size - self._size)
        self._covariance = _DECAY * self._covariance + off * (seconds - self._seconds)

    def of(self, size: float) -> float:
        """Seconds, at least 0; a larger size never takes less."""
        spread = self._variance > 1e-6 * self._size**2
        slope = max(self._covariance / self._variance, 0.0) if spread else 0.0
        return max(self._seconds + slope * (size - self._size), 0.0)
