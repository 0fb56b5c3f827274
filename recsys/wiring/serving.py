"""The server and the scorers that it loads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from recsys.config.schema import Config
from recsys.wiring.publishing import ONLINE
from recsys.wiring.stream import rules, spec, tasks

if TYPE_CHECKING:
    from recsys.config.sections.experiments import ExperimentSection
    from serving.experiments.goals import Goal
    from serving.local_ranking import LocalRanking
    from serving.model.loaded_model import LoadedModel, OpenScorer
    from serving.process_settings import Settings
    from serving.replication.connection.redis_client import RedisClient


def open_scorer(config: Config) -> OpenScorer:
    """How a server makes a scorer of a graph."""
    from serving.model.checked_scorer import load_checked, load_mixed
    from serving.model.scorer import load_scorer

    if config.serving.precision == "mixed":
        return partial(load_mixed, threads=config.serving.threads)
    if config.serving.precision == "bfloat16":
        return partial(load_checked, engine=config.serving.engine, threads=config.serving.threads)
    return partial(load_scorer, engine=config.serving.engine, threads=config.serving.threads)


def published_models(config: Config, client: RedisClient) -> Iterator[LoadedModel]:
    """Every model that Redis holds, as a server loads it; with a `precision` of less than float32 in both precisions,
    where the processor has it."""
    from serving.model.checked_scorer import open_reduced
    from serving.model.scorer import load_scorer
    from serving.replication.follow.model_loader import ModelLoader
    from serving.replication.health import Availability
    from serving.replication.promoter import Promoter

    threads = config.serving.threads
    scorers: list[OpenScorer] = [partial(load_scorer, engine=config.serving.engine, threads=threads)]
    reduced = open_reduced(config.serving.precision, threads)
    if reduced is not None:
        scorers.append(reduced)
    for name, opened in product(Promoter(client).published(), scorers):
        loader = ModelLoader(name, client, opened, config.serving.cache_rows, Availability(), time.monotonic)
        loader.catch_up(client, continued=False)
        if loader.current is not None:
            yield loader.current


def server(config: Config) -> Settings:
    """The server's settings: those of the section, and what other sections say. Without an experiment all users get
    the champion."""
    from serving.experiments.assignment import Arm, Experiment
    from serving.process_settings import Settings

    chosen = {one.name: getattr(config.serving, one.name) for one in fields(config.serving)}
    experiments = tuple(experiment.to_experiment() for experiment in config.experiments)
    return Settings(
        **chosen,
        redis_url=config.redis.url,
        redis_folder=config.redis.folder,
        project=config.project.name,
        experiments=experiments or (Experiment("default", (Arm(ONLINE),)),),
        holdout=config.holdout,
        actions=frozenset(config.training.positive),
        learned=frozenset().union(*(task.rule.actions for task in tasks(config))),
        rules=rules(config),
        spec=spec(config),
        item_sets=config.item_sets.name,
        mined_sets=config.item_sets.mined,
        dead_letters=config.log.dead_letters,
        deduplication_window=config.log.deduplication_window,
    )


def goals(config: Config, experiment: ExperimentSection) -> list[Goal]:
    """What the experiment is after: actions count as they make the labels of their task positive."""
    from serving.experiments.goals import Goal

    known = {task.name: task for task in tasks(config)}
    found = []
    for one in experiment.goals:
        if one.kind == "return":
            found.append(Goal(one.name, one.kind, one.within))
        else:
            task = known[one.task]
            found.append(Goal(one.name, one.kind, task.wait, task.rule.actions, task.rule.min_value))
    return found


def local_ranking(config: Config) -> LocalRanking:
    """The server's answers in this process; Redis must be running."""
    from serving.local_ranking import LocalRanking

    return LocalRanking(server(config), open_scorer(config))
