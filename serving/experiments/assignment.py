"""Which arm of an experiment a user belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import xxhash

from recsys.errors import InvalidValueError

POPULARITY = "popularity"
"""The model of an arm that ranks by popularity, without a published model."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: its share of users is `weight` of the sum of weights; `model` is a published model or `popularity`."""

    name: str
    model: str = "online"
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Experiment:
    """A split of users over arms. A user's arm depends on the salt and the user only, so it is the same on all servers.

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
        if any(":" in name for name in (self.name, *names)):
            raise InvalidValueError(f"experiment {self.name!r}: its name and those of its arms must not contain ':'")

    @property
    def allocation(self) -> str:
        """Names who gets what: it changes with the salt, and with the names, shares, models and order of the arms.

        >>> equal = Experiment("ab", (Arm("a"), Arm("b")))
        >>> equal.allocation == Experiment("ab", (Arm("a", weight=3), Arm("b", weight=3))).allocation
        True
        >>> equal.allocation == Experiment("ab", (Arm("a"), Arm("b", weight=2))).allocation
        False
        """
        total = sum(arm.weight for arm in self.arms)
        arms = [(arm.name, arm.model, f"{arm.weight / total:.12f}") for arm in self.arms]
        return xxhash.xxh3_64_hexdigest(repr((self.salt or self.name, arms)).encode())

    def arm(self, user: str) -> Arm:
        """The user's arm."""
        seed = xxhash.xxh3_64_intdigest((self.salt or self.name).encode())
        share = xxhash.xxh3_64_intdigest(user.encode(), seed=seed) / 2**64
        total = sum(arm.weight for arm in self.arms)
        bounds = accumulate(arm.weight / total for arm in self.arms)
        return next((arm for arm, bound in zip(self.arms, bounds, strict=True) if share < bound), self.arms[-1])
