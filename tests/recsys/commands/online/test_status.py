"""`recsys status` and the trainer's own `/metrics`, over a real Redis."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from serving.replication.embedded_redis import EmbeddedRedis, socket_path
from serving.replication.publish.publisher import Publisher
from tests.projects import SMALL, project

COUNTERS = ("live", "evicted", "expired", "unadmitted", "refused", "stale", "nonfinite", "ahead", "bytes")
STATUS = {
    "run": "3f2a",
    "serves": True,
    "step": 1200,
    "rows": 307_200,
    "event_time": 1_700_000_000_000,
    "lag_events": 17,
    "events_per_second": 1234.0,
    "rows_per_second": 2345.0,
    "tasks": {"click": {"auc": 0.7125, "calibration": 1.0321}},
    "left_out": {"price": 3},
    "losses": {"closed_early": 2},
    "negatives": {"negatives": 900, "learned": 90},
    "outcomes": {"impressions": 100, "unmatched": 5},
    "checkpoint": {"step": 1000, "written": 1_700_000_000_000, "copy": {"trouble": "the store is away"}},
    "tables": {"item": dict.fromkeys(COUNTERS, 41)},
    "workers": {
        str(worker): {
            "host": "h",
            "process": 4000 + worker,
            "rows": 3000,
            "rows_per_second": 50.0,
            "waiting_seconds": 12.0 * worker,
            "tables": {"item": dict.fromkeys(COUNTERS, 20), "user": dict.fromkeys(COUNTERS, 3)},
        }
        for worker in range(2)
    },
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "recsys.toml"
    path.touch()
    return path


@pytest.fixture
def redis_of(config: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(load(config).redis.folder) as embedded:
        yield embedded


def status(config: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["status", "-c", str(config), *options])


def publish(embedded: EmbeddedRedis, *, published: int | None = None, serves: bool = True) -> None:
    now = time.time_ns() // 1_000_000 if published is None else published
    with embedded.client() as client:
        Publisher(client, wiring.ONLINE, now=lambda: now).publish_status({**STATUS, "serves": serves})


def test_it_shows_what_the_trainer_says(config: Path, redis_of: EmbeddedRedis) -> None:
    publish(redis_of)
    result = status(config)
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    for expected in (
        "run 3f2a, served",
        "step 1,200, 307,200 rows learned",
        "lag 17 events",
        "1,234 events/s, 2,345 rows/s",
        "newest label 2023-11-14 22:13:20 UTC",
        "checkpoint step 1,000,",
        "its copy none since the start; the next one fails: the store is away",
        "click 0.7125 - 1.0321 -",
        "Learned from 90 of 900 rows without a positive",
        "5 interactions without their impression",
        "2 windows closed early",
        "not finite: field price",
    ):
        assert expected in words
    assert "the trainer has ended" not in words
    assert "not served" not in words
    assert re.search(r"item( 41){8}", words)
    assert "0 4000 on h 3,000 50 0 s 23 23 23 23 0.00 1 4001 on h 3,000 50 12 s 23 23 23 23 0.00" in words


def test_it_says_that_servers_follow_another_run(config: Path, redis_of: EmbeddedRedis) -> None:
    publish(redis_of, serves=False)
    words = " ".join(status(config).output.split())
    assert "run 3f2a, not served" in words
    assert "Run 3f2a is not served: servers follow another run of this model" in words


def test_it_says_that_the_trainer_is_silent(config: Path, redis_of: EmbeddedRedis) -> None:
    publish(redis_of, published=1_700_000_000_000)
    assert "the trainer has ended, or cannot reach Redis" in " ".join(status(config).output.split())


def test_a_program_gets_everything(config: Path, redis_of: EmbeddedRedis) -> None:
    publish(redis_of)
    told = json.loads(status(config, "--json").output)
    assert told["status"] == STATUS
    assert 0 <= told["age"] < 60


def test_a_redis_without_a_trainer(config: Path, redis_of: EmbeddedRedis) -> None:
    assert status(config).output == "No trainer has published to this Redis: start `recsys train`.\n"
    assert json.loads(status(config, "--json").output) == {"age": None, "status": None}


def test_the_last_word_is_known_when_nobody_uses_the_embedded_redis_any_more(config: Path) -> None:
    with EmbeddedRedis(load(config).redis.folder) as embedded:
        publish(embedded)
    result = status(config, "--json")
    assert json.loads(result.output)["status"] == STATUS
    assert not socket_path(load(config).redis.folder).exists(), "it is ended again"


def test_no_redis_is_an_error_and_none_is_started(config: Path) -> None:
    result = status(config)
    assert result.exit_code == 1
    assert "no Redis runs in" in result.output
    assert not load(config).redis.folder.exists()


@pytest.mark.slow
def test_the_trainer_has_an_endpoint_of_its_own(config: Path, graphs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = f'{SMALL}[training]\nmetrics = "127.0.0.1:{port}"\n[training.negatives]\nrate = 0.5\n'
    with wiring.trainer(project(config.parent, settings, [], graphs), publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        text = scraped(port)
    assert 'recsys_trainer{model="online",name="lag_events"} 0.0' in text
    assert 'recsys_trainer{model="online",name="negatives.learned"} 0.0' in text
    assert 'recsys_trainer_table{counter="live",model="online",table="item"} 0.0' in text


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=120) as answer:
        return bytes(answer.read()).decode()


def test_an_address_in_use_is_an_error(config: Path) -> None:
    config.write_text('[features]\ndim = 4\n[model]\nname = "fm"\n[training]\nmetrics = "127.0.0.1:99999"\n')
    with (
        pytest.raises(ValueError, match=r"training\.metrics = '127\.0\.0\.1:99999' cannot be used"),
        wiring.trainer(load(config), publish=True),
    ):
        pass
