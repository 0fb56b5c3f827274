"""Bounds of requests, and of what is published for them to choose from."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.errors import InvalidValueError

CATALOG_SIZE = 1000
"""Most items published as popular, and most published as recent."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most candidates of a ranking request, candidates retrieved for a recommendation, bytes of a body.

    Raises InvalidValueError when more are to be retrieved than are published.
    """

    candidates: int = 2000
    retrieve: int = 200
    body: int = 8 << 20

    def __post_init__(self) -> None:
        if not 1 <= self.retrieve <= 2 * CATALOG_SIZE:
            raise InvalidValueError(
                f"retrieve: cannot retrieve {self.retrieve} candidates: {CATALOG_SIZE} popular and {CATALOG_SIZE} "
                f"recent items are published, so choose 1 to {2 * CATALOG_SIZE}"
            )
