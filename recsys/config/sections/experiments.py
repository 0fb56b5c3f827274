"""A/B tests: which users see which arm."""

from __future__ import annotations

from typing import Self

from pydantic import field_validator, model_validator

from recsys.config.sections.section import Section, section_of
from recsys.config.units import Duration, Moment
from serving.experiments import assignment
from serving.experiments.traffic import Holdout
from serving.ranking.task_score import TaskScore

HoldoutSection = section_of(Holdout)
"""Users that are in no experiment."""


class ArmSection(Section):
    """One arm: its share of users and the published model that ranks for them; `popularity` ranks without one."""

    name: str
    model: str = "online"
    weight: float = 1.0
    score: dict[str, float] = {}
    """What its items are ranked by; empty: as `serving` says."""

    @field_validator("score")
    @classmethod
    def _ranks(cls, score: dict[str, float]) -> dict[str, float]:
        if score:
            TaskScore(score)
        return score


class ExperimentSection(Section):
    """Users are assigned to arms by a hash of salt, arm and user; a change of weights moves as few as possible."""

    name: str
    salt: str = ""
    """Empty: the experiment's name."""
    start: Moment | None = None
    """Event time from which on users enter; before it they get the first arm's ranking, and nothing counts."""
    end: Moment | None = None
    """The same from here on."""
    share: float = 1.0
    """Share of users that enter; the others get the first arm's ranking, and nothing counts."""
    ramp: Duration = 0
    """How long after `start` the share of users that have entered grows evenly up to `share`."""
    arms: list[ArmSection]

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self.to_experiment()
        return self

    def to_experiment(self) -> assignment.Experiment:
        settings = {name: getattr(self, name) for name in ("name", "salt", "start", "end", "share", "ramp")}
        return assignment.Experiment(arms=tuple(assignment.Arm(**arm.model_dump()) for arm in self.arms), **settings)
