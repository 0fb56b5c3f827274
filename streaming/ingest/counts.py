"""What became of records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Records read so far; each is counted in exactly one of the three."""

    accepted: int = 0
    duplicate: int = 0
    dead: int = 0

    @property
    def read(self) -> int:
        return self.accepted + self.duplicate + self.dead

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.accepted + other.accepted, self.duplicate + other.duplicate, self.dead + other.dead)

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.accepted - other.accepted, self.duplicate - other.duplicate, self.dead - other.dead)
