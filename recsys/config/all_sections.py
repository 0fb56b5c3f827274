"""All sections of `recsys.toml`, and what must agree between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from recsys.config.mapped_files import unused_mapping
from recsys.config.sections.catalog import CatalogSection
from recsys.config.sections.experiments import ExperimentSection, HoldoutSection
from recsys.config.sections.features import FeaturesSection, FieldSection
from recsys.config.sections.item_sets import ItemSetsSection
from recsys.config.sections.item_to_item import ItemToItemSection
from recsys.config.sections.learning.fit import FitSection
from recsys.config.sections.learning.models import SMALLEST_BATCH, AutoIntConfig, ModelSection
from recsys.config.sections.learning.retrieval import RetrievalSection
from recsys.config.sections.learning.search import DnisSection, IhasSection
from recsys.config.sections.learning.tasks import CLICK, TaskSection
from recsys.config.sections.learning.training import TrainingSection
from recsys.config.sections.learning.tune import TuneSection
from recsys.config.sections.log import LogSection
from recsys.config.sections.project import ProjectSection
from recsys.config.sections.redis import RedisSection
from recsys.config.sections.section import Section, error_at, reader, section_of
from recsys.config.without_effect import without_effect
from serving.experiments.traffic import Holdout
from serving.settings import ServingSettings
from streaming.join.labeled_impression import MAX_TASKS

ServingSection = section_of(ServingSettings)
"""The HTTP server."""


class AllSections(Section):
    """The sections by name. An error of what they say together has the place of the setting to change."""

    project: ProjectSection = ProjectSection()
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
    item_sets: ItemSetsSection = ItemSetsSection()
    retrieval: RetrievalSection = RetrievalSection()
    serving: Annotated[ServingSettings, BeforeValidator(reader(ServingSettings, ServingSection))] = ServingSettings()
    experiments: list[ExperimentSection] = []
    holdout: Annotated[Holdout, BeforeValidator(reader(Holdout, HoldoutSection))] = Holdout()

    @model_validator(mode="after")
    def _tasks_agree(self) -> Self:
        known = [CLICK]
        for number, task in enumerate(self.tasks):
            if task.name in known:
                owner = "the task that [training] defines" if task.name == CLICK else "another task"
                raise error_at(("tasks", number, "name"), f"{task.name!r} is the name of {owner}; choose another")
            known.append(task.name)
        scores: list[tuple[tuple[int | str, ...], Mapping[str, float]]] = [(("serving", "score"), self.serving.score)]
        scores += [(("serving", "scores", value), weights) for value, weights in self.serving.scores.items()]
        for number, experiment in enumerate(self.experiments):
            scores += [
                (("experiments", number, "arms", n, "score"), arm.score) for n, arm in enumerate(experiment.arms)
            ]
            tasks = [goal.task for goal in experiment.goals if goal.task]
            scores += [(("experiments", number, "goals"), dict.fromkeys(tasks, 1.0))]
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
            for field in map(FieldSection.to_field, self.features.fields):
                if field.of_item and field.streamed is not None:
                    message = f"cannot read {field.source}: it changes with time, and a published vector does not. "
                    raise error_at(("retrieval", "two_tower"), f"{message}Delete field {field.name!r}, or write false")
            if self.training.workers > 1:
                message = "needs training.workers = 1: train with one worker, or leave it out"
                raise error_at(("retrieval", "two_tower"), message)
        return self

    @model_validator(mode="after")
    def _can_normalise(self) -> Self:
        if dict(self.model).get("mlp_norm") == "batch":
            if self.training.workers > 1:
                message = (
                    "needs training.workers = 1, because workers have rows of their own: train with one, or write layer"
                )
                raise error_at(("model", "mlp_norm"), message)
            if self.training.batch_size < SMALLEST_BATCH:
                message = f"needs training.batch_size of at least {SMALLEST_BATCH}: raise it, or write layer"
                raise error_at(("model", "mlp_norm"), message)
        return self

    @model_validator(mode="after")
    def _can_keep_rows_on_disk(self) -> Self:
        places = {("tables", name): table for name, table in self.features.tables.items()}
        for place, table in ({("defaults",): self.features.defaults} | places).items():
            if table.cold_capacity and self.training.workers > 1:
                message = "needs training.workers = 1: train with one worker, or raise capacity instead"
                raise error_at(("features", *place, "cold_capacity"), message)
        for name, fields in self.features.readers().items():
            table, most = self.features.tables.get(name, self.features.defaults), self.training.batch_size * fields
            if table.cold_capacity and table.capacity < most:
                place = ("tables", name) if name in self.features.tables else ("defaults",)
                message = (
                    f"a batch of training.batch_size = {self.training.batch_size} rows has up to {most} ids of table "
                    f"{name!r}, which must be in memory together: raise it to {most}, or lower batch_size"
                )
                raise error_at(("features", *place, "capacity"), message)
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
        for place, message in without_effect(self):
            raise error_at(place, message)
        for number, mapping in enumerate(self.log.mapping):
            if reason := unused_mapping(mapping):
                raise error_at(("log", "mapping", number), reason)
        return self
