"""The one configuration file, `recsys.toml`: what each setting means, its default and its bounds.

Pure data: importing this module imports no model, no engine and no server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from embedding.store import INIT_SCALE
from recsys.config.mapped_files import unused_mapping
from recsys.config.sections.debiasing import DebiasingSection
from recsys.config.sections.features import FeaturesSection
from recsys.config.sections.fit import FitSection
from recsys.config.sections.item_to_item import ItemToItemSection
from recsys.config.sections.log import LogSection
from recsys.config.sections.models import AutoIntConfig, ModelSection
from recsys.config.sections.retrieval import RetrievalSection
from recsys.config.sections.search import DnisSection, IhasSection
from recsys.config.sections.section import Count, FilePath, Positive, Section, error_at, reader, section_of
from recsys.config.sections.ssl import SslSection
from recsys.config.sections.tasks import CLICK, TaskSection
from recsys.config.sections.tune import TuneSection
from recsys.config.units import Duration, milliseconds
from serving.experiments import assignment
from serving.ranking.task_score import TaskScore
from serving.replication.redis_url import checked
from serving.settings import ServingSettings
from streaming.join.labeled_impression import MAX_TASKS


class RedisSection(Section):
    """Redis, which holds embedding rows, graphs and counters for serving."""

    url: str = ""
    """Empty: an embedded Redis that lives in `folder`. A password is named: `?password=env:NAME`."""
    folder: FilePath = Path("run/redis")
    publish_every: Duration = milliseconds("250ms")
    precision: Literal["float32", "half", "int8"] = "float32"
    """Of the embedding rows in Redis; trainer and row caches keep float32. What it costs: `docs/embedding.md`."""

    @field_validator("url")
    @classmethod
    def _of_redis(cls, url: str) -> str:
        return checked(url) if url else url

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if self.url and self.folder != type(self).model_fields["folder"].default:
            raise error_at(
                ("folder",), "has no effect: it is for an embedded Redis, and `url` names another. Delete one"
            )
        return self


class TrainingSection(Section):
    """Labels, and how the model learns from them."""

    positive: Annotated[list[str], Field(min_length=1)] = ["click"]
    """Actions that make a label of the first task, `click`, positive, and that experiments count as clicks."""
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
    max_norm: Positive | None = None
    """Of the gradient of a row in a step; a longer one is scaled down to it."""
    init_scale: Positive = INIT_SCALE
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    threads: Count = 1
    workers: Count = 1
    """Processes of `recsys train`, started by Ray, that divide embedding rows and batches among them."""
    ray: str = ""
    """Address of the Ray cluster for the workers; empty starts Ray on this machine alone."""
    checkpoints: FilePath = Path("run/checkpoints")
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    keep: Annotated[int, Field(ge=2)] = 3
    """Checkpoints kept; at least two, so that training can resume if the newest is damaged."""
    metrics: Annotated[str, Field(pattern=r"^([^:\s]+:\d{1,5})?$")] = ""
    """HOST:PORT at which the trainer shows its figures to Prometheus; empty for none."""
    export_every: Duration = milliseconds("30s")
    """How often dense weights go to serving; loading them takes a server 0.1 s. Rows go every `redis.publish_every`."""
    debiasing: DebiasingSection = DebiasingSection()
    ssl: SslSection = SslSection()

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if self.labels == "held" and not self.wait:
            raise error_at(
                ("labels",), 'held has no effect with wait = "0s": no label is held. Set wait, or write paced'
            )
        if self.workers > 1:
            self._check_shared()
        elif self.ray:
            raise error_at(("ray",), "has no effect with one worker. Set workers, or leave ray out")
        return self

    def _check_shared(self) -> None:
        """Whether the tables can be divided among workers: by FBGEMM, which has fewer optimizers."""
        if self.optimizer not in ("rowwise_adagrad", "adagrad"):
            raise error_at(("optimizer",), f"{self.optimizer} has one worker only. Write rowwise_adagrad or adagrad")
        if self.ssl.on:
            raise error_at(("ssl", "method"), "needs workers = 1. Leave it out, or train with one worker")
        if self.max_norm is not None:
            raise error_at(("max_norm",), "needs workers = 1. Leave it out, or train with one worker")


class CatalogSection(Section):
    """The popular and recent items that the trainer publishes for retrieval."""

    half_life: Annotated[Duration, Field(gt=0)] = milliseconds("7d")
    """Of an item's popularity, in event time."""


ServingSection = section_of(ServingSettings)
"""The HTTP server."""


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
    arms: list[ArmSection]

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self.to_experiment()
        return self

    def to_experiment(self) -> assignment.Experiment:
        return assignment.Experiment(
            self.name, tuple(assignment.Arm(**arm.model_dump()) for arm in self.arms), self.salt
        )


class Config(Section):
    """The whole file. Relative paths are taken from the folder that holds it.

    Programs make one from its tables, `Config(training={"batch_size": 64})`. Raises ConfigError with every problem, in
    the words that the command line has for a file.
    """

    log: LogSection = LogSection()
    redis: RedisSection = RedisSection()
    features: FeaturesSection = FeaturesSection()
    model: ModelSection = AutoIntConfig()
    training: TrainingSection = TrainingSection()
    fit: FitSection = FitSection()
    tune: TuneSection = TuneSection()
    dnis: DnisSection = DnisSection()
    ihas: IhasSection = IhasSection()
    tasks: Annotated[list[TaskSection], Field(max_length=MAX_TASKS - 1)] = []
    """Beside the first one, `click`, which `training` defines."""
    catalog: CatalogSection = CatalogSection()
    item_to_item: ItemToItemSection = ItemToItemSection()
    retrieval: RetrievalSection = RetrievalSection()
    serving: Annotated[ServingSettings, BeforeValidator(reader(ServingSettings, ServingSection))] = ServingSettings()
    experiments: list[ExperimentSection] = []

    @model_validator(mode="after")
    def _tasks_agree(self) -> Self:
        known = [CLICK]
        for number, task in enumerate(self.tasks):
            if task.name in known:
                owner = "the task that [training] defines" if task.name == CLICK else "another task"
                raise error_at(("tasks", number, "name"), f"{task.name!r} is the name of {owner}; choose another")
            known.append(task.name)
        scores: list[tuple[tuple[int | str, ...], Mapping[str, float]]] = [(("serving", "score"), self.serving.score)]
        for number, experiment in enumerate(self.experiments):
            scores += [
                (("experiments", number, "arms", n, "score"), arm.score) for n, arm in enumerate(experiment.arms)
            ]
        for place, score in scores:
            for name in score:
                if name not in known:
                    raise error_at(place, f"there is no task {name!r}; the tasks are {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _can_retrieve(self) -> Self:
        if self.retrieval.two_tower:
            sources = [field.source for field in self.features.fields if field.kind == "categorical"]
            if "item" not in sources:
                message = "needs a categorical field of the item's id: add one with source `item` to features.fields"
                raise error_at(("retrieval", "two_tower"), message)
            if all(field.to_field().of_item for field in self.features.fields):
                message = "needs a field of the user: add one with source `user` to features.fields"
                raise error_at(("retrieval", "two_tower"), message)
            if self.training.workers > 1:
                message = "needs training.workers = 1: train with one worker, or leave it out"
                raise error_at(("retrieval", "two_tower"), message)
        return self

    @model_validator(mode="after")
    def _can_supervise_itself(self) -> Self:
        items = [field for field in self.features.fields if field.to_field().of_item]
        multi = any(field.kind == "multi" for field in items)
        for section, ssl in (("retrieval", self.retrieval.ssl), ("training", self.training.ssl)):
            if found := ssl.problem(len(items), multi):
                raise error_at((section, "ssl", found[0]), found[1])
        if self.training.ssl.on and not any(f.source == "item" and f.kind == "categorical" for f in items):
            message = "needs a categorical field of the item's id: add one with source `item` to features.fields"
            raise error_at(("training", "ssl", "method"), message)
        return self

    @model_validator(mode="after")
    def _effective(self) -> Self:
        names = [experiment.name for experiment in self.experiments]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise error_at(("experiments", number), f"there is another experiment {name!r}: choose another name")
        for number, mapping in enumerate(self.log.mapping):
            if reason := unused_mapping(mapping):
                raise error_at(("log", "mapping", number), reason)
        return self

    def __init__(self, **tables: Any) -> None:
        with _told(tables):
            super().__init__(**tables)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # `model_validate` does without it

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        with _told(obj):
            return super().model_validate(obj, **options)

    def without_retrieval(self) -> Self:
        """The same configuration for who judges the ranker alone: it learns the same without a two-tower model."""
        return self.model_copy(update={"retrieval": RetrievalSection()})

    def rooted(self, folder: Path) -> Self:
        """The same configuration with its paths absolute below `folder`."""
        sections = {name: value.rooted(folder) for name, value in self if isinstance(value, Section | ServingSettings)}
        return self.model_copy(update=sections)


@contextmanager
def _told(tables: Any) -> Iterator[None]:
    """Errors of pydantic as one of ours."""
    try:
        yield
    except ValidationError as error:
        from recsys.config.messages import told  # it compares with this schema

        raise told(tables if isinstance(tables, Mapping) else {}, error.errors()) from None
