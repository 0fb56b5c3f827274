"""A rate limit: so many a second in the long run, as many at once."""

from __future__ import annotations


class TokenBucket:
    """Holds up to a second's tokens, at least one; each request takes one, and time brings new ones.

    >>> bucket = TokenBucket(2.0)
    >>> [bucket.take(0.0), bucket.take(0.0), bucket.take(0.0), bucket.take(0.5)]
    [0.0, 0.0, 0.5, 0.0]
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = max(rate, 1.0)
        self._tokens = self._capacity
        self._filled: float | None = None

    def owe(self, more: int) -> None:
        """Take as many more, there or not: later requests wait until they are paid for."""
        self._tokens -= more

    def take(self, now: float) -> float:
        """0 if a token was taken at `now` (seconds), else the seconds until there will be one."""
        if self._filled is not None:
            self._tokens = min(self._tokens + (now - self._filled) * self._rate, self._capacity)
        self._filled = now
        if self._tokens >= 1 - 1e-9:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate
