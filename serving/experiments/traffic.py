"""Which ranking a request gets: that of an arm, or, outside of the experiment, that of the control.

Outside are users that are held out of all experiments, those that have not entered, and everybody before an experiment
starts and after it ends. They get what the first arm shows, and their impressions name neither experiment nor arm, so
that nothing counts them. As those before the start are what users did before they were assigned, they adjust what the
experiment shows (`serving.experiments.inference.adjusted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from recsys.errors import InvalidValueError
from serving.experiments.assignment import Arm, Experiment, draw


@dataclass(frozen=True, slots=True)
class Holdout:
    """Users that are in no experiment: the same ones in all, drawn independently of arms.

    A larger share only adds users, a smaller one only lets some go.
    """

    share: float = 0.0
    salt: str = "holdout"

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InvalidValueError(
                f"share: is {self.share:g}; it must be at least 0 and below 1, else no user is in any experiment. To "
                "stop experiments, delete them or set their end"
            )
        if not self.salt:
            raise InvalidValueError('salt: must not be empty; leave it out, or write one such as "2026"')

    def has(self, user: str) -> bool:
        """Whether the user is held out."""
        return self.share > 0 and draw(f"held out: {self.salt}", user) < self.share


class Traffic:
    """Divides requests among the arms of `experiments`, of which there is at least one."""

    def __init__(self, experiments: Sequence[Experiment], holdout: Holdout) -> None:
        self._experiments = {experiment.name: experiment for experiment in experiments}
        self._default = experiments[0].name
        self._holdout = holdout

    def place(self, user: str, time: int, experiment: str = "") -> Placement:
        """Where a request of the user at this event time (ms) belongs; `experiment` is by default the first.

        Raises InvalidValueError for an experiment that there is not.
        """
        found = self._experiments.get(experiment or self._default)
        if found is None:
            known = sorted(self._experiments)
            raise InvalidValueError(f"unknown experiment {experiment!r}; the experiments are {known}")
        if self._holdout.has(user) or not found.holds(user, time):
            return Placement.outside(found)
        return Placement(found.name, found.arm(user))


@dataclass(frozen=True, slots=True)
class Placement:
    """The experiment and the arm of a request; outside both names are empty."""

    experiment: str
    arm: Arm

    @classmethod
    def outside(cls, experiment: Experiment) -> Self:
        return cls("", replace(experiment.arms[0], name=""))
