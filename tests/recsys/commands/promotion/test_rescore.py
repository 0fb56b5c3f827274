"""What a server answered over HTTP, scored again from the log: bit for bit, or the reason."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.commands.online import rescore
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.evaluation import rescored_lists
from serving import replica
from serving.assembly import build
from serving.experiments.assignment import POPULARITY
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import ONLINE
from streaming.events.schema import Interaction
from streaming.ingest.codec import encode_events
from streaming.log.event_log import Chunk, EventLog, read_partitions
from tests.recsys.commands.promotion.conftest import CHAMPION, train
from tests.serving.running import running
from tests.serving.waiting import until

pytestmark = pytest.mark.slow
DRAWN = '[serving]\nexploration = "plackett_luce"\n'
ARMS = """
[[experiments]]
name = "ab"
arms = [
  { name = "live", model = "online" }, { name = "kept", model = "kept" }, { name = "plain", model = "popularity" }
]
"""
ITEMS = ["i0", "i1", "i2", "i3"]
USERS = 24
NOW = time.time_ns() // 1_000_000


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are waited for, however busy the machine is: answers without them say so, and are not the subject here."""
    monkeypatch.setattr(replica, "_REQUEST_TIMEOUT", 60.0)


def recsys(folder: Path, *arguments: str, exits: int = 0) -> str:
    result = CliRunner().invoke(main, [arguments[0], "--config", str(folder / "recsys.toml"), *arguments[1:]])
    assert result.exit_code == exits, result.output
    return result.output


def counts(folder: Path, exits: int = 0) -> dict[str, int]:
    found = json.loads(recsys(folder, "rescore", "--since", "2020-01-01", "--json", exits=exits))
    return {outcome: one["lists"] for outcome, one in found.items()}


@contextmanager
def serving(config: Config) -> Iterator[httpx.Client]:
    with (
        closing(wiring.event_log(config)) as log,
        running(build(wiring.server(config), log, wiring.open_scorer(config))) as http,
    ):
        until(lambda: http.get("/readyz").status_code == 200)
        yield http


def ask(config: Config) -> list[dict[str, Any]]:
    """A list of two of the items for each of many users."""
    with serving(config) as http:
        users = [f"u{n}" for n in range(USERS)]
        answers = [http.post("/v1/rank", json={"user": user, "items": ITEMS, "count": 2}).json() for user in users]
    assert [answer["degraded"] for answer in answers] == [[]] * USERS
    return answers


def learn(config: Config, answer: dict[str, Any]) -> None:
    """A click on the list, and its training."""
    with closing(wiring.event_log(config)) as log:
        log.append(encode_events([Interaction(NOW, answer["impression"], answer["items"][0]["item"])]))
    train(config)


def test_what_was_served_comes_out_again_bit_for_bit_or_with_the_reason(folder: Path, client: RedisClient) -> None:
    recsys(folder, "freeze", "kept")
    (folder / "recsys.toml").write_text(CHAMPION.replace("[serving]\n", DRAWN) + ARMS)
    config = load(folder / "recsys.toml")
    answers = ask(config)
    by_model = Counter(answer["model"].partition("@")[0] for answer in answers)
    assert set(by_model) == {ONLINE, "kept", POPULARITY}
    popular = by_model[POPULARITY]
    assert counts(folder) == {"equal": USERS - popular, "popularity": popular}
    learn(config, answers[0])
    assert counts(folder) == {"equal": USERS - popular, "popularity": popular}, "the copy stands for the live model"
    recsys(folder, "freeze", "kept")
    assert counts(folder) == {"version": USERS - popular, "popularity": popular}
    ask(config)
    assert counts(folder) == {"version": USERS - popular, "equal": USERS - popular, "popularity": 2 * popular}


def test_a_copy_that_was_made_anew_of_the_same_graph_is_a_reason(folder: Path, client: RedisClient) -> None:
    recsys(folder, "freeze", "kept")
    (folder / "recsys.toml").write_text(CHAMPION + ARMS.replace('{ name = "live", model = "online" }, ', ""))
    popular = sum(answer["model"] == POPULARITY for answer in ask(load(folder / "recsys.toml")))
    assert [client.delete(key) for key in client.scan_iter(f"recsys:{ONLINE}:*:row:*")]
    recsys(folder, "freeze", "kept")
    assert counts(folder) == {"moved": USERS - popular, "popularity": popular}


def test_rows_that_nobody_may_have_changed_are_an_error(
    folder: Path, client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescored_lists, "SETTLED", 0)
    recsys(folder, "freeze", "kept")
    (folder / "recsys.toml").write_text(CHAMPION + ARMS)
    ask(load(folder / "recsys.toml"))
    gone = [client.delete(key) for name in ("kept", ONLINE) for key in client.scan_iter(f"recsys:{name}*:row:*")]
    assert gone
    found = counts(folder, exits=1)
    assert found["unexplained"]
    said = " ".join(recsys(folder, "rescore", exits=1).split())
    assert "are [serving] score, engine and precision as they were" in said


def test_rows_that_a_trainer_changes_meanwhile_are_a_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(folder / "recsys.toml")
    answers = ask(config)
    monkeypatch.setattr(rescored_lists, "SETTLED", 0)

    def after_training(log: EventLog) -> Iterator[Iterator[Chunk]]:
        learn(config, answers[0])
        yield from read_partitions(log)

    monkeypatch.setattr(rescore, "read_partitions", after_training)
    assert counts(folder) == {"moved": USERS}
