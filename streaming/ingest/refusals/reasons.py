"""Counting why records were refused, in bounded memory."""

from __future__ import annotations

import re
from typing import Final

MOST: Final = 200
"""Most distinct reasons; further ones are counted together."""
_VALUES: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")


class Reasons:
    """Reasons that differ in quoted values and numbers only count as one, shown by the first of them.

    >>> reasons = Reasons()
    >>> for reason in ("time: 'x' is not ISO 8601", "time: 'y' is not ISO 8601", "not UTF-8 at byte 7"):
    ...     reasons.add(reason)
    >>> reasons.most_common(1)
    [("time: 'x' is not ISO 8601", 2)]
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}

    def add(self, reason: str) -> None:
        """Count one record."""
        key = _VALUES.sub("", reason)
        if key not in self._counts and len(self._counts) >= MOST:
            key, reason = "", "other reasons"
        self._counts[key] = self._counts.get(key, 0) + 1
        self._examples.setdefault(key, reason)

    def most_common(self, count: int) -> list[tuple[str, int]]:
        """The commonest reasons, each with the number of its records."""
        keys = sorted(self._counts, key=lambda key: -self._counts[key])
        return [(self._examples[key], self._counts[key]) for key in keys[:count]]
