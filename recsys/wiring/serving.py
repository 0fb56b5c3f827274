"""The server and the scorers that it loads."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

from recsys.config.schema import Config
from recsys.wiring.publishing import ONLINE
from recsys.wiring.stream import rules, spec, tasks

if TYPE_CHECKING:
    from recsys.config.sections.experiments import ExperimentSection
    from serving.experiments.goals import Goal
    from serving.local_ranking import LocalRanking
    from serving.model.loaded_model import OpenScorer
    from serving.process_settings import Settings


def open_scorer(config: Config) -> OpenScorer:
    """How a server makes a scorer of a graph."""
    from serving.model.checked_scorer import load_checked
    from serving.model.scorer import load_scorer

    if config.serving.precision == "bfloat16":
        return partial(load_checked, engine=config.serving.engine, threads=config.serving.threads)
    return partial(load_scorer, engine=config.serving.engine, threads=config.serving.threads)


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
