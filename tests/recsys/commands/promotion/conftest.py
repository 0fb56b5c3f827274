"""Two models of one log, published side by side as two trainers do."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from recsys import wiring
from recsys.config.file import load
from recsys.config.schema import Config
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import connect
from serving.replication.keys import ONLINE, KeyNames, ModelKeys
from streaming.events.schema import Event, Impression, Interaction
from tests.projects import SMALL, project

CHAMPION = (
    '[training]\nbatch_size = 16\nwait = "1m"\n[serving]\ndeadline = "30s"\n[redis]\npublish_every = "0ms"\n' + SMALL
)
CHALLENGER = CHAMPION.replace(
    "[training]\n", '[training]\npublish_as = "wide"\ncheckpoints = "run/wide"\nsparse_lr = 0.5\n'
)
"""Learns faster, so that it knows more after this little log."""


def events(count: int = 200) -> list[Event]:
    rng = np.random.default_rng(5)
    made: list[Event] = []
    for n in range(count):
        items = [f"i{i}" for i in rng.permutation(4)]
        made.append(Impression(f"n{n}", 1000 * n, f"u{n % 20}", items))
        if "i0" in items and rng.random() < 0.8:
            made.append(Interaction(1000 * n + 10, f"n{n}", "i0"))
    return made


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Path:
    """A folder whose Redis, log and checkpoints have both models. Do not change it."""
    folder = tmp_path_factory.mktemp("promotion")
    config = project(folder, CHAMPION, events(), graphs)
    (folder / "challenger.toml").write_text(CHALLENGER)
    challenger = load(folder / "challenger.toml")
    challenger.training.checkpoints.mkdir()
    (challenger.training.checkpoints / "graphs").symlink_to(graphs)
    with wiring.running_redis(config):
        for one in (config, challenger):
            train(one)
    return folder


def train(config: Config) -> None:
    """To the end of the log, and publish."""
    with wiring.trainer(config, publish=True) as trainer:
        trainer.resume()
        trainer.run(follow=False, stop=threading.Event())


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, without a promotion."""
    shutil.copytree(trained, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


@pytest.fixture
def config(folder: Path) -> Config:
    return load(folder / "recsys.toml")


@pytest.fixture
def client(config: Config) -> Iterator[RedisClient]:
    """Of the folder's Redis, which runs as long as the test."""
    with wiring.running_redis(config), connect(config.redis.url, config.redis.folder) as client:
        assert not client.exists(KeyNames().promotions)
        for model in (ONLINE, "wide"):
            aged(client, model, -3600)  # else a slow test takes them for silent
        yield client


def aged(client: RedisClient, model: str, seconds: int) -> None:
    """Let its trainer have said what it said so long ago."""
    key = ModelKeys(model).status
    status = json.loads(cast(bytes, client.get(key)))
    client.set(key, json.dumps(status | {"published": 1000 * (int(time.time()) - seconds)}))
