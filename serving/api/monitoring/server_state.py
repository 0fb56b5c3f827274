"""What `/readyz` and `/metrics` show of the server and of the trainers it follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from serving.api.gate.access import Access
from serving.api.gate.open_connections import OpenConnections
from serving.api.gate.ranking_queue import RankingQueue
from serving.api.messages.operator_schemas import ReadyResponse, TrainerState
from serving.event_writer import EventWriter
from serving.model.loaded_model import Models


class LatestStatus(Protocol):
    """The latest status that a model's trainer published."""

    @property
    def published(self) -> int:
        """When it was written, in milliseconds since the epoch."""
        ...

    @property
    def status(self) -> dict[str, Any]: ...

    @property
    def not_served(self) -> str:
        """A sentence if servers follow another run than the trainer's; otherwise empty."""
        ...

    def figures(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Every number in it, with the names that lead to it."""
        ...


@dataclass(frozen=True, slots=True)
class ServerState:
    """The parts of a server whose state is shown. `clock` is in seconds, `now` in milliseconds since the epoch."""

    models: Models
    events: EventWriter
    queue: RankingQueue
    access: Access
    connections: OpenConnections
    redis_available: Callable[[], bool]
    trainers: Callable[[], Mapping[str, LatestStatus]]
    shadow: Mapping[str, int]
    """Lists that were scored in the shadow, and those that were not, by reason."""
    clock: Callable[[], float]
    now: Callable[[], int]

    def readiness(self) -> ReadyResponse:
        missing = dict(self.models.missing)
        trainers = {
            model: TrainerState(age, trainer.status, trainer.not_served) for model, trainer, age in self.aged_trainers()
        }
        loaded = self.models.loaded.items()
        precision = {name: model.precision for name, model in loaded if model.precision is not None}
        return ReadyResponse(not missing, missing, trainers, precision, {name: model.engine for name, model in loaded})

    def aged_trainers(self) -> Iterable[tuple[str, LatestStatus, float]]:
        """Statuses by model, with their age in seconds."""
        now = self.now()
        return [(model, trainer, (now - trainer.published) / 1000) for model, trainer in self.trainers().items()]
