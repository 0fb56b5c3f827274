"""kill -9 of the embedded Redis below a trainer that runs alone: training goes on, and all is published again."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from recsys import build
from recsys.commands.train import open_trainer
from recsys.config_file import load
from serving.keys import ModelKeys
from serving.redis_server import EmbeddedRedis
from streaming.codec import encode_events
from streaming.events import Event, Impression, Interaction

SETTINGS = (
    '[training]\nwait = "1s"\nlateness = "1s"\nbatch_size = 16\n[model]\nname = "fm"\n[rows]\npublish_every = "0ms"\n'
)


def events() -> list[Event]:
    return [
        event
        for i in range(200)
        for event in (
            Impression(f"i{i}", 1000 * i, f"u{i % 5}", ["a", "b"]),
            Interaction(1000 * i, f"i{i}", "a"),
            Interaction(1000 * i, f"i{i}", "b", action="skip"),
        )
    ]


@pytest.mark.parametrize("moment", ["step", "checkpoint written"])
def test_redis_killed_below_the_trainer(tmp_path: Path, moment: str) -> None:
    (tmp_path / "recsys.toml").write_text(SETTINGS)
    config = load(tmp_path / "recsys.toml")
    build.event_log(config).append(encode_events(events()))
    killed: list[int] = []

    def crash(point: str) -> None:
        if point == moment and not killed:
            with EmbeddedRedis(config.rows.folder) as redis:
                killed.append(redis.pid)
            os.kill(killed[0], signal.SIGKILL)

    with open_trainer(config, publish=True, crash=crash) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        steps = trainer.learner.steps
        with EmbeddedRedis(config.rows.folder) as redis, redis.client() as client:
            assert redis.pid != killed[0]
            published = client.keys(ModelKeys(build.ONLINE).row_prefix + "item:*")
    assert steps > 5
    assert len(published) == 2
