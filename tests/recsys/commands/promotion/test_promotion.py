"""Promote and roll back, from the command to the answers of a server."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import httpx
import pytest
from click.testing import CliRunner, Result

from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from recsys.config.schema import Config
from serving.assembly import build
from serving.experiments.assignment import POPULARITY
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import connect
from serving.replication.keys import ONLINE, KeyNames, ModelKeys
from serving.replication.promoter import Promoter
from serving.replication.promotions import history
from serving.replication.publish.lease import Holder
from serving.replication.shared_reads import served
from streaming.encode.feature_spec import FeatureSpec, Field
from tests.forking import run_until_killed
from tests.projects import share_graphs
from tests.recsys.commands.promotion.conftest import aged, train
from tests.serving.running import running
from tests.serving.waiting import until

pytestmark = pytest.mark.slow
QUESTION = {"user": "u1", "items": ["i0", "i1", "i2", "i3"], "time": 300_000}


def recsys(folder: Path, *arguments: str, fails: bool = False) -> str:
    result: Result = CliRunner().invoke(main, [arguments[0], "--config", str(folder / "recsys.toml"), *arguments[1:]])
    assert bool(result.exit_code) == fails, result.output
    return " ".join(result.output.split())


@pytest.fixture
def http(config: Config, client: RedisClient) -> Iterator[httpx.Client]:
    log = wiring.event_log(config)
    with running(build(wiring.server(config), log, wiring.open_scorer(config))) as http:
        yield http
    log.close()


def model_of(http: httpx.Client) -> str:
    """The model that answers, without its version; popularity while none can."""
    return str(http.post("/v1/rank", json=QUESTION).json()["model"]).partition("@")[0]


def ranked(http: httpx.Client) -> object:
    """What is ranked when nothing is missing."""

    def whole() -> object:
        answer = http.post("/v1/rank", json=QUESTION).json()
        return None if answer["degraded"] else answer["items"]

    return until(whole)


def test_a_challenger_is_promoted_and_gone_back_from_while_a_server_answers(
    folder: Path, client: RedisClient, http: httpx.Client
) -> None:
    until(lambda: model_of(http) == ONLINE)
    before = ranked(http)
    assert "version 1" in recsys(folder, "promote", "wide", "--force", "--why", "more rows")
    until(lambda: model_of(http) == "wide")
    assert 'recsys_champion{model="wide"} 1.0' in http.get("/metrics").text
    assert ranked(http) != before
    assert "is the champion again" in recsys(folder, "rollback", "--why", "clicks fell")
    until(lambda: model_of(http) == ONLINE)
    assert ranked(http) == before
    assert [(one.version, one.model, one.why, one.rolled_back) for one in history(client)] == [
        (1, "wide", "more rows", False),
        (2, ONLINE, "clicks fell", True),
    ]
    shown = json.loads(recsys(folder, "versions", "--json"))
    assert [(one["model"], one["champion"]) for one in shown["published"]] == [(ONLINE, True), ("wide", False)]


def test_while_servers_change_every_answer_is_of_one_of_both(
    folder: Path, client: RedisClient, http: httpx.Client
) -> None:
    until(lambda: model_of(http) == ONLINE)
    seen, ended = set[str](), threading.Event()

    def ask() -> None:
        while not ended.is_set():
            seen.add(model_of(http))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        recsys(folder, "promote", "wide", "--force")
        until(lambda: "wide" in seen)
    finally:
        ended.set()
        asking.join()
    assert seen - {POPULARITY} == {ONLINE, "wide"}


def test_a_server_started_between_promotion_and_loading_answers_with_the_champion_alone(
    folder: Path, config: Config, client: RedisClient
) -> None:
    recsys(folder, "promote", "wide", "--force")
    log = wiring.event_log(config)
    with running(build(wiring.server(config), log, wiring.open_scorer(config))) as http:
        seen = set[str]()
        while "wide" not in seen:
            seen.add(until(lambda: model_of(http)))
    log.close()
    assert seen <= {"wide", POPULARITY}


def test_rolled_back_to_a_model_whose_trainer_is_gone(folder: Path, client: RedisClient, http: httpx.Client) -> None:
    assert not client.exists(ModelKeys(ONLINE).lease), "its trainer is gone"
    aged(client, ONLINE, 3600)
    recsys(folder, "promote", "wide", "--force")
    until(lambda: model_of(http) == "wide")
    said = recsys(folder, "rollback")
    assert "the trainer of 'online' has said nothing for 3,6" in said
    until(lambda: model_of(http) == ONLINE)


def test_after_redis_was_emptied_the_champions_trainer_brings_it_back_as_the_champion(
    folder: Path, client: RedisClient, http: httpx.Client
) -> None:
    challenger = load(folder / "challenger.toml")
    recsys(folder, "promote", "wide", "--force", "--why", "kept")
    train(challenger)  # sees the promotion, and keeps a copy
    until(lambda: model_of(http) == "wide")
    client.flushall()
    assert history(client) == []
    assert "no model 'wide' is published" in recsys(folder, "promote", "wide", fails=True)
    assert http.post("/v1/rank", json=QUESTION).json()["model"].startswith("wide@"), "from the cache"
    train(challenger)
    assert [one.why for one in history(client)] == ["kept"]
    until(lambda: model_of(http) == "wide")
    assert client.exists(ModelKeys("wide", served(client, "wide") or "").artefact)


def killed(settings: Path) -> None:
    """Train a challenger anew, until it has published and learned a little."""
    config = load(settings)
    with connect(config.redis.url, config.redis.folder) as client:

        def crash(point: str) -> None:
            if point == "step" and client.get(ModelKeys("again").served):
                os.kill(os.getpid(), signal.SIGKILL)

        with wiring.trainer(config, publish=True, crash=crash) as trainer:
            trainer.run(follow=False, stop=threading.Event())


def test_a_challenger_whose_trainer_was_killed_is_promoted_by_force_alone(
    folder: Path, client: RedisClient, graphs: Path
) -> None:
    again = (folder / "challenger.toml").read_text().replace('"wide"', '"again"').replace("run/wide", "run/again")
    (folder / "again.toml").write_text(again)
    share_graphs(folder / "run" / "again", graphs)
    run_until_killed(killed, folder / "again.toml")
    assert client.exists(ModelKeys("again").lease), "nobody has ended it"
    said = recsys(folder, "promote", "again", fails=True)
    assert "the trainer of 'again' has" in said
    assert "events of the log to read" in said
    aged(client, "again", 60)
    said = recsys(folder, "promote", "again", fails=True)
    assert "has said nothing for 6" in said
    assert "start it again" in said
    assert history(client) == []
    recsys(folder, "promote", "again", "--force")
    (made,) = history(client)
    assert [name in one for name, one in zip(("to read", "said nothing", "too little"), made.forced, strict=True)] == [
        True
    ] * 3


def test_a_retired_model_leaves_nothing_but_what_all_share(folder: Path, client: RedisClient) -> None:
    others = {key for key in cast(list[bytes], client.keys("*")) if not key.startswith(b"recsys:wide:")}
    rows = len(cast(list[bytes], client.keys(ModelKeys("wide", served(client, "wide") or "").all_rows)))
    assert rows > 20
    assert f"Removed model 'wide' from Redis, {rows} rows" in recsys(folder, "retire", "wide")
    assert set(cast(list[bytes], client.keys("*"))) == others
    assert "no model 'wide' is published; there are: online" in recsys(folder, "promote", "wide", fails=True)
    assert "Redis has nothing of a model 'wide'" in recsys(folder, "retire", "wide", fails=True)


def test_what_is_used_is_not_retired(folder: Path, client: RedisClient) -> None:
    assert "model 'online' is the champion" in recsys(folder, "retire", ONLINE, fails=True)
    with wiring.publisher(load(folder / "challenger.toml"), holder=Holder("t", "here", 1, "aa", 0)):
        assert "is being published by another trainer" in recsys(folder, "retire", "wide", fails=True)
    file = folder / "recsys.toml"
    file.write_text(file.read_text().replace("[serving]\n", '[serving]\nshadow = ["wide"]\n'))
    assert "[serving] shadow names it" in recsys(folder, "retire", "wide", fails=True)
    assert Promoter(client).published() == [ONLINE, "wide"]


def test_a_challenger_writes_nothing_that_all_share_while_the_champions_trainer_lives(
    folder: Path, client: RedisClient
) -> None:
    """Learning anew, it would bring back features and popularity of the log's beginning."""
    challenger = load(folder / "challenger.toml")
    assert client.exists(KeyNames().popular)
    client.delete(KeyNames().popular)
    with wiring.publisher(load(folder / "recsys.toml"), holder=Holder("t", "here", 1, "aa", 0)):
        train(challenger)
        assert client.exists(ModelKeys(ONLINE).lease)
        assert not client.exists(KeyNames().popular)
    train(challenger)
    assert client.exists(KeyNames().popular), "nobody else does"


def test_without_a_champion_in_redis_there_is_nothing_to_be_worse_than(folder: Path, client: RedisClient) -> None:
    assert "too little" in recsys(folder, "promote", "wide", fails=True)
    client.delete(ModelKeys(ONLINE, served(client, ONLINE) or "").artefact)
    recsys(folder, "promote", "wide")
    assert [one.forced for one in history(client)] == [[]]


def test_a_champion_that_redis_has_lost_is_shown_as_lost(folder: Path, client: RedisClient) -> None:
    recsys(folder, "promote", "wide", "--force")
    client.delete(ModelKeys("wide", cast(str, served(client, "wide"))).artefact)
    shown = json.loads(recsys(folder, "versions", "--json"))["published"]
    assert [(one["model"], one["champion"]) for one in shown] == [(ONLINE, False), ("wide", True)]
    assert "lost" in shown[1]["notes"][0]


def test_without_redis_nothing_is_changed(folder: Path) -> None:
    file = folder / "recsys.toml"
    file.write_text(file.read_text().replace("[redis]\n", '[redis]\nurl = "redis://127.0.0.1:1"\n'))
    for command in (("promote", "wide"), ("rollback",), ("versions",)):
        assert "the Redis of [redis] url does not answer, nothing was changed" in recsys(folder, *command, fails=True)


def test_the_champion_is_not_promoted_again(folder: Path, client: RedisClient) -> None:
    assert "'online' is the champion already (version 0)" in recsys(folder, "promote", ONLINE, "--force", fails=True)


def test_a_model_without_the_tasks_that_servers_rank_by_is_refused(folder: Path, client: RedisClient) -> None:
    file = folder / "recsys.toml"
    tasks = '[[tasks]]\nname = "buy"\nactions = ["buy"]\nwait = "1m"\n'
    file.write_text(file.read_text().replace("[serving]\n", "[serving]\nscore = { click = 1.0, buy = 2.0 }\n") + tasks)
    said = recsys(folder, "promote", "wide", fails=True)
    assert "'wide' does not predict buy, which [serving] score ranks by" in said


def test_a_model_that_reads_what_clients_do_not_send_is_refused(folder: Path, client: RedisClient) -> None:
    keys = ModelKeys("wide", served(client, "wide") or "")
    known = Promoter(client).candidate("wide").artefact
    wider = FeatureSpec.of([*known.spec.fields, Field("country", "categorical", "request.country")])
    client.set(keys.artefact, replace(known, spec=wider).to_bytes())
    said = recsys(folder, "promote", "wide", fails=True)
    assert "'wide' reads request.country, which 'online' does not" in said


def test_who_gets_the_champions_ranking_is_said(folder: Path, client: RedisClient) -> None:
    file = folder / "recsys.toml"
    base = file.read_text()
    assert "It ranks for all users" in recsys(folder, "promote", "wide", "--force")
    file.write_text(base + '[[experiments]]\nname = "ab"\narms = [{ name = "a" }, { name = "b", model = "wide" }]\n')
    said = recsys(folder, "rollback")
    assert "It ranks for arm 'a' of experiment 'ab'" in said
    assert "--since" in said
    file.write_text(base + '[[experiments]]\nname = "ab"\narms = [{ name = "b", model = "wide" }]\n')
    assert "No arm of this configuration" in recsys(folder, "promote", "wide", "--force")
