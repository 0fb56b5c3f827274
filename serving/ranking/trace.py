"""What happened to one request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Preranking:
    """What the stage before the model did: `by` what it scored, empty if it left nothing out.

    `survived`, of a request of which the model scored all: by cheap score, the share of the model's first items that it
    would have kept.
    """

    by: str = ""
    left_out: int = 0
    survived: Mapping[str, float] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """`reduced`, `checked` (all candidates were scored by both) or `unscored` (there is no cheap score)."""
        if self.survived:
            return "checked"
        return "reduced" if self.left_out else "unscored"


class TimedStage(NamedTuple):
    """A stage of a request, in seconds of the clock."""

    name: str
    began: float
    ended: float


@dataclass(slots=True)
class Trace:
    """What happened to one request: start time (seconds of the clock), its stages, reasons for degradation."""

    started: float
    clock: Callable[[], float]
    stages: list[TimedStage] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    variety: float | None = None
    """How many kinds of items are in the list that is shown (see `serving.ranking.diversity`); None: nobody asked."""

    preranking: Preranking | None = None
    """None: no candidate had to be left out."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        began = self.clock()
        try:
            yield
        finally:
            self.stages.append(TimedStage(name, began, self.clock()))

    @property
    def seconds(self) -> dict[str, float]:
        """By stage, over all times that it was entered."""
        found: dict[str, float] = {}
        for name, began, ended in self.stages:
            found[name] = found.get(name, 0.0) + ended - began
        return found

    def elapsed(self) -> float:
        return self.clock() - self.started
