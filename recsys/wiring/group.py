"""Several processes that train together: the learner that leads them, and those that follow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from recsys.config.schema import Config
from recsys.wiring.learning import made, tables

if TYPE_CHECKING:
    from embedding.torchrec.sharded_store.store import TorchRecStore
    from recsys.training.group.channel import Channel
    from recsys.training.group.group_member import GroupMember
    from recsys.training.group.leading_learner import LeadingLearner


def channel() -> Channel:
    """Between this process and the others of PyTorch's default process group, which must exist."""
    import torch

    from embedding.torchrec.processes.ranks import Ranks
    from recsys.training.group.channel import Channel

    return Channel(Ranks(None, torch.device("cpu")))


def leading_learner(config: Config, to_others: Channel) -> LeadingLearner:
    """The learner of the first process. Collective, with the `follower` of every other process."""
    from recsys.training.group.leading_learner import LeadingLearner
    from recsys.training.group.worker_figures import WorkerFigures

    store = sharded_store(config)
    figures = WorkerFigures(store, to_others.ranks)
    return made(partial(LeadingLearner, channel=to_others, figures=figures), config, store)


def follower(config: Config, from_leader: Channel) -> GroupMember:
    """What the other processes run. Collective."""
    from recsys.training.group.group_member import GroupMember
    from recsys.training.group.group_peers import GroupPeers
    from recsys.training.group.worker_figures import WorkerFigures
    from recsys.training.learner import Learner

    store, peers = sharded_store(config), GroupPeers(from_leader.ranks)
    learner = made(partial(Learner, peers=peers), config, store)
    return GroupMember(learner, from_leader, WorkerFigures(store, from_leader.ranks))


def sharded_store(config: Config) -> TorchRecStore:
    """The tables, their rows divided among the processes of the default group. Collective."""
    from embedding.torchrec.sharded_store.store import TorchRecStore

    return TorchRecStore(tables(config), seed=config.training.seed)
