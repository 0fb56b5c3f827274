"""A/B tests: which users see which arm."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from recsys.config.sections.section import Section, error_at, section_of
from recsys.config.units import Duration, Moment
from recsys.errors import InvalidValueError
from serving.experiments import assignment
from serving.experiments.goals import VISIT, Kind
from serving.experiments.guardrails import Guardrail, Watched, check_guardrails
from serving.experiments.traffic import Holdout
from serving.ranking.task_score import TaskScore

HoldoutSection = section_of(Holdout)
"""Users that are in no experiment."""


class ArmSection(Section):
    """One arm: its share of users and the published model that ranks for them.

    `champion` is the promoted one, and `popularity` ranks without one."""

    name: str
    model: str = assignment.CHAMPION
    weight: float = 1.0
    score: dict[str, float] = {}
    """What its items are ranked by; empty: as `serving` says."""

    diversity: Annotated[float, Field(ge=0)] | None = None
    """What variety is worth to it; without one: as `serving` says."""

    prerank: Annotated[int, Field(ge=0)] | None = None
    """Most candidates that its model scores, 0: all; without one: as `serving` says."""

    @field_validator("score")
    @classmethod
    def _ranks(cls, score: dict[str, float]) -> dict[str, float]:
        if score:
            TaskScore(score)
        return score


class GoalSection(Section):
    """One figure of each user that an experiment is after, beside clicks."""

    name: Annotated[str, Field(min_length=1)]
    kind: Kind
    """`conversion` (did an action of the task), `value` (sum of the actions' values) or `return` (came back)."""
    task: str = ""
    """Whose actions count, for as long as it waits."""
    within: Duration = 0
    """Of a return: how long after the first impression."""

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if self.kind == "return":
            if self.task:
                raise error_at(("task",), "has no effect on a return, which is an impression: delete it")
            if self.within <= VISIT:
                raise error_at(("within",), 'of a return is more than "30m", or it would be the same visit; write "1d"')
        elif self.within:
            raise error_at(("within",), f"has no effect on a {self.kind}: its task's wait says how long; delete it")
        elif not self.task:
            raise error_at(("task",), f'a {self.kind} needs a task: add `task = "click"`, or another one')
        return self


class GuardrailSection(Section):
    """What must not get worse: see `serving.experiments.guardrails.Guardrail`."""

    name: Watched
    alpha: float = 0.05
    """How often arms that are no worse may be called so, all together."""
    margin: float = 0.0
    """How much worse is borne: ms of latency, or a share."""

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self.to_guardrail()
        return self

    def to_guardrail(self) -> Guardrail:
        return Guardrail(**self.model_dump())


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
    goals: list[GoalSection] = []
    """Figures of each user that are judged beside the click rate, by the log."""
    guardrails: list[GuardrailSection] = []
    """What is watched for getting worse, by the log."""

    @model_validator(mode="after")
    def _valid(self) -> Self:
        experiment = self.to_experiment()
        try:
            check_guardrails(experiment, [one.to_guardrail() for one in self.guardrails])
        except InvalidValueError as error:
            raise error_at(("guardrails",), str(error)) from None
        names = [goal.name for goal in self.goals]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise error_at(("goals",), f"two have the name {twice[0]!r}; choose another")
        return self

    def to_experiment(self) -> assignment.Experiment:
        settings = {name: getattr(self, name) for name in ("name", "salt", "start", "end", "share", "ramp")}
        return assignment.Experiment(arms=tuple(assignment.Arm(**arm.model_dump()) for arm in self.arms), **settings)
