"""The one configuration file, `recsys.toml`: what each setting means, its default and its bounds.

Pure data: importing this module imports no model, no engine and no server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from recsys.config.features import FeaturesSection
from recsys.config.log import LogSection
from recsys.config.models import AutoIntConfig, ModelSection
from recsys.config.section import Count, Positive, Section, Unit, error_at
from recsys.config.units import Duration, milliseconds
from recsys.errors import InvalidValueError
from serving.experiments import assignment
from serving.limits import Limits


class RedisSection(Section):
    """Redis, which holds embedding rows, graphs and counters for serving."""

    url: str = ""
    """Empty: an embedded Redis that lives in `folder`."""
    folder: Path = Path("run/redis")
    publish_every: Duration = milliseconds("250ms")
    precision: Literal["float32", "half", "int8"] = "float32"
    """Of the embedding rows in Redis; trainer and row caches keep float32. What it costs: `docs/embedding.md`."""

    @field_validator("url")
    @classmethod
    def _of_redis(cls, url: str) -> str:
        if url and not url.startswith(("redis://", "rediss://", "unix://")):
            raise InvalidValueError(
                "write redis://HOST:PORT/0 (or rediss://, unix://); leave it empty for an embedded Redis"
            )
        return url


class TrainingSection(Section):
    """Labels, and how the model learns from them."""

    positive: list[str] = ["click"]
    """Actions that make a label positive, and that experiments count as clicks."""
    min_value: float | None = None
    """An action with a smaller value makes the label negative."""
    labels: Literal["paced", "held"] = "paced"
    """When silence is learned: at the pace of clicks, or, like everything else, when the window closes."""
    wait: Duration = milliseconds("30m")
    """How long (event time) a shown item waits for an interaction before its label is negative."""
    lateness: Duration = milliseconds("1m")
    """How far (event time) events may be out of order."""
    max_pending: Count = 200_000
    """Impressions that wait for interactions at the same time."""
    batch_size: Count = 256
    dense_lr: Positive = 0.001
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the running mean over steps of the dense weights that score; 0 scores with the latest."""
    sparse_lr: Positive = 0.05
    optimizer: Literal["rowwise_adagrad", "adagrad", "adam", "ftrl"] = "rowwise_adagrad"
    init_scale: Positive = 0.01
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    threads: Count = 1
    checkpoints: Path = Path("run/checkpoints")
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    keep: Annotated[int, Field(ge=2)] = 3
    """Checkpoints kept; at least two, so that training can resume if the newest is damaged."""
    export_every: Duration = milliseconds("30s")
    """How often dense weights go to serving; loading them takes a server 0.1 s. Rows go every `redis.publish_every`."""


class CatalogSection(Section):
    """The popular and recent items that the trainer publishes for retrieval."""

    half_life: Annotated[Duration, Field(gt=0)] = milliseconds("7d")
    """Of an item's popularity, in event time."""


class ServingSection(Section):
    """The HTTP server."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    engine: Literal["auto", "openvino", "onnxruntime"] = "auto"
    threads: Count = 1
    cache_rows: Annotated[int, Field(ge=2)] = 1_000_000
    max_candidates: Annotated[int, Field(ge=1, le=10_000)] = 2000
    retrieve: Count = 200
    """Candidates that `/v1/recommend` retrieves before ranking."""
    recent_share: Unit = 0.2
    """Minimum share of them taken from the most recent items."""
    deadline: Duration = milliseconds("200ms")
    exploration: Literal["none", "plackett_luce"] = "none"
    temperature: Positive = 1.0
    attribution: Annotated[Duration, Field(gt=0)] = milliseconds("6h")
    """How long (wall-clock time) after an impression a click still counts in experiments."""

    @model_validator(mode="after")
    def _retrievable(self) -> Self:
        try:
            self.to_limits()
        except InvalidValueError as error:
            raise error_at(("retrieve",), str(error)) from None
        return self

    def to_limits(self) -> Limits:
        return Limits(self.max_candidates, self.retrieve)


class Arm(Section):
    """One arm: its share of users and the published model that ranks for them; `popularity` ranks without one."""

    name: str
    model: str = "online"
    weight: Positive = 1.0


class Experiment(Section):
    """Users are assigned to arms by a hash of the salt and the user."""

    name: str
    salt: str = ""
    """Empty: the experiment's name."""
    arms: Annotated[list[Arm], Field(min_length=1)]

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self.to_experiment()
        return self

    def to_experiment(self) -> assignment.Experiment:
        return assignment.Experiment(
            self.name, tuple(assignment.Arm(**arm.model_dump()) for arm in self.arms), self.salt
        )


class Config(Section):
    """The whole file. Relative paths are taken from the folder that holds it."""

    log: LogSection = LogSection()
    redis: RedisSection = RedisSection()
    features: FeaturesSection = FeaturesSection()
    model: ModelSection = AutoIntConfig()
    training: TrainingSection = TrainingSection()
    catalog: CatalogSection = CatalogSection()
    serving: ServingSection = ServingSection()
    experiments: list[Experiment] = []

    def rooted(self, folder: Path) -> Self:
        """The same configuration with its paths absolute below `folder`."""
        sections = {name: value.rooted(folder) for name, value in self if isinstance(value, Section)}
        return self.model_copy(update=sections)
