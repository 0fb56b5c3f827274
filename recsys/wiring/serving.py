"""The server and the scorers that it loads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from recsys.config.schema import Config
from recsys.wiring.publishing import ONLINE
from recsys.wiring.stream import rules

if TYPE_CHECKING:
    from serving.local_ranking import LocalRanking
    from serving.model.loaded_model import OpenScorer
    from serving.server import Settings


def open_scorer(config: Config) -> OpenScorer:
    """How a server makes a scorer of a graph."""
    from serving.model.scorer import load_scorer

    return partial(load_scorer, engine=config.serving.engine, threads=config.serving.threads)


def server(config: Config) -> Settings:
    """The server's settings; without an experiment all users get the online model."""
    from serving.experiments.assignment import Arm, Experiment
    from serving.ranking.exploration import exploration
    from serving.server import Settings

    serving = config.serving
    experiments = tuple(experiment.to_experiment() for experiment in config.experiments)
    return Settings(
        host=serving.host,
        port=serving.port,
        redis_url=config.redis.url,
        redis_folder=config.redis.folder,
        experiments=experiments or (Experiment("default", (Arm(ONLINE, ONLINE),)),),
        actions=frozenset(config.training.positive),
        rules=rules(config),
        limits=serving.to_limits(),
        cache_rows=serving.cache_rows,
        recent_share=serving.recent_share,
        score=serving.score,
        deadline=serving.deadline,
        attribution=serving.attribution,
        exploration=exploration(serving.exploration, serving.temperature),
    )


def local_ranking(config: Config) -> LocalRanking:
    """The server's answers in this process; Redis must be running."""
    from serving.local_ranking import LocalRanking

    return LocalRanking(server(config), open_scorer(config))
