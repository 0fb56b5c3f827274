"""Which arm of an experiment a user belongs to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import xxhash

from recsys.errors import InvalidValueError
from serving.replication import keys

CHAMPION = keys.CHAMPION
"""The model of an arm that ranks with the promoted model."""
POPULARITY = "popularity"
"""The model of an arm that ranks by popularity, without a published model."""

LEAST_SHARE = 1e-9
"""Of the users, that an arm has: with less it never gets any."""
_RULE = "rendezvous"
"""How users are assigned: counts of another rule are of another split."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: its share of users is `weight` of the sum of weights; `model` is a published model, `champion`
    (the promoted one) or `popularity`."""

    name: str
    model: str = CHAMPION
    weight: float = 1.0
    score: Mapping[str, float] = field(default_factory=dict, hash=False)
    """What its items are ranked by, as `[serving] score`; empty: as that says."""
    diversity: float | None = None
    """How much variety is worth, as `[serving] diversity`; None: as that says."""
    prerank: int | None = None
    """Most candidates that the model scores, as `[serving] prerank`; 0: all; None: as that says."""


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
    start: int | None = None
    """Event time (ms) from which on users enter; None: always."""
    end: int | None = None
    """Event time (ms) from which on nobody is in it; None: never."""
    share: float = 1.0
    """Share of users that enter."""
    ramp: int = 0
    """How long (ms) after `start` the share of users that have entered grows evenly, up to `share`."""

    def __post_init__(self) -> None:
        self._check_arms()
        self._check_times()

    def _check_times(self) -> None:
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise InvalidValueError(f"experiment {self.name!r}: end must be after start, else nobody is ever in it")
        if not 0 < self.share <= 1:
            raise InvalidValueError(
                f"experiment {self.name!r}: share is {self.share}; it must be above 0 and at most 1. To stop the "
                "experiment set its end"
            )
        if self.ramp and self.start is None:
            raise InvalidValueError(f"experiment {self.name!r}: ramp has no effect without start: set start")
        if self.ramp and self.end is not None and self.start is not None and self.end <= self.start + self.ramp:
            raise InvalidValueError(
                f"experiment {self.name!r}: it ends before its ramp does; shorten ramp, or move end"
            )

    def _check_arms(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names:
            raise InvalidValueError(f"experiment {self.name!r}: needs at least one arm")
        if len(set(names)) < len(names):
            raise InvalidValueError(f"experiment {self.name!r}: two arms have the same name in {names}")
        if any(not arm.weight > 0 for arm in self.arms):
            raise InvalidValueError(f"experiment {self.name!r}: weights must be positive; remove an arm to disable it")
        total = sum(arm.weight for arm in self.arms)
        if idle := [arm.name for arm in self.arms if not arm.weight / total >= LEAST_SHARE]:
            raise InvalidValueError(
                f"experiment {self.name!r}: arm {idle[0]!r} gets less than one user in a billion; raise its weight, or "
                "remove it"
            )
        for setting in ("score", "diversity", "prerank"):
            if odd := [arm.name for arm in self.arms if getattr(arm, setting) and arm.model == POPULARITY]:
                raise InvalidValueError(
                    f"experiment {self.name!r}: arm {odd[0]!r} ranks by popularity: delete its {setting}"
                )
        if any(":" in name for name in (self.name, *names)):
            raise InvalidValueError(f"experiment {self.name!r}: its name and those of its arms must not contain ':'")

    @property
    def allocation(self) -> str:
        """Names who gets what: it changes with salt and start, and with names, shares, models, and what arms rank by.

        >>> equal = Experiment("ab", (Arm("a"), Arm("b")))
        >>> equal.allocation == Experiment("ab", (Arm("a", weight=3), Arm("b", weight=3))).allocation
        True
        >>> equal.allocation == Experiment("ab", (Arm("a"), Arm("b", weight=2))).allocation
        False
        """
        total = sum(arm.weight for arm in self.arms)
        begun = () if self.start is None else (self.start,)
        arms = sorted((arm.name, arm.model, f"{arm.weight / total:.12f}", *_ranked_by(arm)) for arm in self.arms)
        return xxhash.xxh3_64_hexdigest(repr((_RULE, self.salt or self.name, arms, *begun)).encode())

    def lasts(self, time: int) -> bool:
        """Whether this event time (ms) is between start and end."""
        return time >= (self.start or 0) and (self.end is None or time < self.end)

    def holds(self, user: str, time: int) -> bool:
        """Whether the user is in the experiment at this event time (ms). Who has entered stays until the end.

        >>> Experiment("ab", (Arm("a"), Arm("b")), start=10, end=20).holds("u", 20)
        False
        """
        if not self.lasts(time):
            return False
        entered = min((time - (self.start or 0)) / self.ramp, 1.0) if self.ramp else 1.0
        return self.share * entered >= 1 or draw(f"{self.salt or self.name}:", user) < self.share * entered

    def arm(self, user: str) -> Arm:
        """The user's arm."""
        salt = self.salt or self.name
        return min(self.arms, key=lambda arm: -math.log(draw(f"{salt}:{arm.name}", user)) / arm.weight)


@lru_cache(maxsize=1024)
def _seed(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


def draw(salt: str, user: str) -> float:
    """A draw for the user from the uniform distribution on (0, 1]; those of different salts are independent."""
    return (xxhash.xxh3_64_intdigest(user.encode(), seed=_seed(salt)) + 0.5) / 2**64


def _ranked_by(arm: Arm) -> list[tuple[str, float]]:
    """What an arm ranks by beside its model."""
    own = [(name, value) for name in ("diversity", "prerank") if (value := getattr(arm, name)) is not None]
    return sorted(arm.score.items()) + own
