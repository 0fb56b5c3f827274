"""Which arm of an experiment a user belongs to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import xxhash

from recsys.errors import InvalidValueError

POPULARITY = "popularity"
"""The model of an arm that ranks by popularity, without a published model."""

_RULE = "rendezvous"
"""How users are assigned: counts of another rule are of another split."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: its share of users is `weight` of the sum of weights; `model` is a published model or `popularity`."""

    name: str
    model: str = "online"
    weight: float = 1.0
    score: Mapping[str, float] = field(default_factory=dict, hash=False)
    """What its items are ranked by, as `[serving] score`; empty: as that says."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A split of users over arms, the same on all servers.

    Each arm draws a number for each user from the salt, the arm's name and the user, and the user belongs to the arm
    with the lowest one divided by its weight (weighted rendezvous hashing: Thaler and Ravishankar 1998, with the
    exponential draws of Efraimidis and Spirakis 2006). So as few users as possible move when the split changes: an arm
    whose share grows only takes users, a new one takes its share evenly from all others, and the order of arms and the
    scale of weights do not matter.

    >>> split = Experiment("ab", (Arm("a"), Arm("b")))
    >>> split.arm("u1") == split.arm("u1")
    True
    """

    name: str
    arms: tuple[Arm, ...]
    salt: str = ""
    """Empty: the name. Experiments with different salts assign users independently of each other."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names:
            raise InvalidValueError(f"experiment {self.name!r}: needs at least one arm")
        if len(set(names)) < len(names):
            raise InvalidValueError(f"experiment {self.name!r}: two arms have the same name in {names}")
        if any(not arm.weight > 0 for arm in self.arms):
            raise InvalidValueError(f"experiment {self.name!r}: weights must be positive; remove an arm to disable it")
        if odd := [arm.name for arm in self.arms if arm.score and arm.model == POPULARITY]:
            raise InvalidValueError(f"experiment {self.name!r}: arm {odd[0]!r} ranks by popularity: delete its score")
        if any(":" in name for name in (self.name, *names)):
            raise InvalidValueError(f"experiment {self.name!r}: its name and those of its arms must not contain ':'")

    @property
    def allocation(self) -> str:
        """Names who gets what: it changes with the salt, and with the names, shares, models and scores of the arms.

        >>> equal = Experiment("ab", (Arm("a"), Arm("b")))
        >>> equal.allocation == Experiment("ab", (Arm("a", weight=3), Arm("b", weight=3))).allocation
        True
        >>> equal.allocation == Experiment("ab", (Arm("a"), Arm("b", weight=2))).allocation
        False
        """
        total = sum(arm.weight for arm in self.arms)
        arms = sorted(
            (arm.name, arm.model, f"{arm.weight / total:.12f}", *sorted(arm.score.items())) for arm in self.arms
        )
        return xxhash.xxh3_64_hexdigest(repr((_RULE, self.salt or self.name, arms)).encode())

    def arm(self, user: str) -> Arm:
        """The user's arm."""
        name = user.encode()
        return min(self.arms, key=lambda arm: _exponential(f"{self.salt or self.name}:{arm.name}", name) / arm.weight)


@lru_cache(maxsize=1024)
def _seed(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


def _exponential(salt: str, user: bytes) -> float:
    """A draw from the exponential distribution of rate 1."""
    return -math.log((xxhash.xxh3_64_intdigest(user, seed=_seed(salt)) + 0.5) / 2**64)
