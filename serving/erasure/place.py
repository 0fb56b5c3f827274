"""Places that may know something of the users to be erased."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from recsys.errors import InvalidValueError
from streaming.events.schema import LONGEST_ID


class Place(Protocol):
    """Methods raise RecsysError when the place cannot be read or written."""

    @property
    def name(self) -> str: ...

    @property
    def remedy(self) -> str:
        """What to do about what is left."""
        ...

    def count(self) -> int:
        """How many things of the users it has."""
        ...

    def remove(self) -> None:
        """Remove what can be removed here and now."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """How much of the users a place had, and has."""

    place: str
    before: int
    now: int
    remedy: str
    """What to do about what is left; empty if nothing is."""


def check_users(users: Sequence[str]) -> None:
    """Raises InvalidValueError for what cannot be a user's id."""
    for user in users:
        if not 1 <= len(user) <= LONGEST_ID:
            raise InvalidValueError(f"a user's id has 1 to {LONGEST_ID} characters, got {len(user)}: {user!r:.80}")
        try:
            user.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(f"user {user!r} is not UTF-8: give the id as events have it") from None


def found(places: Sequence[Place]) -> list[Finding]:
    """What there is, and nothing is removed."""
    counts = [place.count() for place in places]
    return [_finding(place, count, count) for place, count in zip(places, counts, strict=True)]


def erased(places: Sequence[Place], tell: Callable[[], None]) -> list[Finding]:
    """Remove everything, in the order of the places, after `tell` has told readers of the log to forget the users.

    Users of whom nothing is known are not written down either. If it fails, it can be repeated.
    """
    before = [place.count() for place in places]
    if any(before):
        tell()
        for place in places:
            place.remove()
    return [_finding(place, count, place.count()) for place, count in zip(places, before, strict=True)]


def _finding(place: Place, before: int, now: int) -> Finding:
    return Finding(place.name, before, now, place.remedy if now else "")
