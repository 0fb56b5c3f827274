"""`recsys forget`: what a user leaves in the whole system, and the proof that it is gone."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from serving.replication.embedded_redis import connect
from streaming.ingest.codec import encode_events
from streaming.ingest.refusals.dead_letters import DeadLetter, DeadLetters
from streaming.log.erasure import append_erasures
from tests.projects import share_graphs
from tests.recsys.training.test_erasure import SETTINGS, visits

PLACES = ["Redis", "dead letters", "event log", "kept batches", "newest checkpoint", "older checkpoints"]


@pytest.fixture
def config_path(tmp_path: Path, graphs: Path) -> Path:
    """A log of three users with some refused records."""
    path = tmp_path / "recsys.toml"
    path.write_text(SETTINGS + "batches_folder = 'run/batches'\n")
    config = load(path)
    share_graphs(config.training.checkpoints, graphs)
    log = wiring.event_log(config)
    log.append(encode_events(visits(range(20))))
    raws = [
        b'{"user":"ada","time":1}',
        b'{"who":{"id":["ada"]}}',
        b'{"impression":"ada-3","item":"x"}',
        b"half,a,line,ada,",
        b'{"user":"adam"}',
        b"adam",
        b"\xff\xfe ada \xff",
    ]
    DeadLetters(config.log.dead_letters).write(DeadLetter("f", n, 0, "bad", raw) for n, raw in enumerate(raws))
    return path


def train(path: Path) -> None:
    with wiring.trainer(load(path), publish=True) as trainer:
        trainer.resume()
        trainer.run(follow=False, stop=threading.Event())


def forget(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["forget", "--config", str(path), *arguments])


def counts(result: Result) -> dict[str, tuple[int, int]]:
    found: dict[str, Any] = json.loads(result.output)
    return {place["place"]: (place["before"], place["now"]) for place in found["places"]}


def names(path: Path) -> set[str]:
    """Of all keys in Redis."""
    config = load(path)
    with wiring.running_redis(config), connect(config.redis.url, config.redis.folder) as client:
        return {key.decode() for key in client.scan_iter()}


@pytest.mark.slow
def test_all_that_a_user_leaves_is_found_erased_and_proved_to_be_gone(config_path: Path) -> None:
    train(config_path)
    kept = names(config_path)
    checked = forget(config_path, "ada", "--check", "--json")
    before = counts(checked)
    assert checked.exit_code == 1
    assert list(before) == PLACES
    assert all(was == now for was, now in before.values())
    assert before["event log"] == (60, 60)
    assert before["dead letters"] == (5, 5)
    assert before["Redis"][0] >= 5  # features, history, visits, a row, pairs with items
    assert before["newest checkpoint"][0] > 1

    erased = forget(config_path, "ada", "--json")
    after = counts(erased)
    assert erased.exit_code == 1  # the trainer has not run since
    assert {place: now for place, (_, now) in after.items() if now} == {
        "newest checkpoint": before["newest checkpoint"][0]
    }
    assert {place: was for place, (was, _) in after.items()} == {place: was for place, (was, _) in before.items()}
    assert [entry["raw"] for entry in DeadLetters(load(config_path).log.dead_letters).read()] == [
        '{"user":"adam"}',
        "adam",
    ]
    gone = kept - names(config_path)
    assert len(gone) == before["Redis"][0]
    assert not any("bob" in name or "eve" in name for name in gone)

    train(config_path)
    proved = forget(config_path, "ada", "--check", "--json")
    assert proved.exit_code == 0, proved.output
    assert json.loads(proved.output)["left"] == 0
    assert counts(forget(config_path, "bob", "--check", "--json"))["event log"] == (60, 60)


@pytest.mark.slow
def test_a_trainer_that_reads_the_erasure_removes_the_user_from_redis_itself(config_path: Path) -> None:
    with wiring.running_redis(load(config_path)):  # it stays between the runs
        train(config_path)
        append_erasures(wiring.event_log(load(config_path)), ["ada"])
        assert counts(forget(config_path, "ada", "--check", "--json"))["Redis"][1] >= 5
        train(config_path)
        assert counts(forget(config_path, "ada", "--check", "--json"))["Redis"] == (0, 0)
        assert counts(forget(config_path, "bob", "--check", "--json"))["Redis"][1] >= 5


@pytest.mark.slow
def test_older_checkpoints_have_the_user_until_they_go_or_are_removed(config_path: Path) -> None:
    train(config_path)
    config = load(config_path)
    wiring.event_log(config).append(encode_events(visits(range(20, 30), ("bob",))))
    forget(config_path, "ada")
    train(config_path)
    left = forget(config_path, "ada", "--check")
    assert left.exit_code == 1
    assert "older checkpoints: they go as newer ones are written" in left.output
    removed = forget(config_path, "ada", "--now", "--json")
    assert removed.exit_code == 0, removed.output
    assert counts(removed)["older checkpoints"][0] > 0
    assert len(list(config.training.checkpoints.glob("step-*"))) == 1


def test_an_unknown_user_is_said_to_be_unknown_and_not_written_down(config_path: Path) -> None:
    log = wiring.event_log(load(config_path))
    end = log.end()
    result = forget(config_path, "carl with a space é")
    assert result.exit_code == 0
    assert "Nothing is known of 'carl with a space é'." in result.output
    assert log.end() == end


@pytest.mark.parametrize(("user", "error"), [("", "1 to 512 characters, got 0"), ("x" * 513, "got 513")])
def test_what_cannot_be_an_id_is_refused(config_path: Path, user: str, error: str) -> None:
    result = forget(config_path, "ada", user)
    assert result.exit_code == 1
    assert error in result.output
    assert counts(forget(config_path, "ada", "--check", "--json"))["event log"] == (60, 60)


def test_several_users_at_once_and_the_same_again(config_path: Path) -> None:
    first = forget(config_path, "ada", "bob", "ada", "--json")
    assert (first.exit_code, counts(first)["event log"]) == (0, (120, 0))
    log = wiring.event_log(load(config_path))
    end = log.end()
    again = forget(config_path, "ada", "bob")
    assert again.exit_code == 0
    assert "Nothing is known of" in again.output
    assert log.end() == end


def test_a_user_who_came_back_is_found_and_erased_again(config_path: Path) -> None:
    log = wiring.event_log(load(config_path))
    forget(config_path, "ada")
    log.append(encode_events(visits(range(30, 32), ("ada",))))
    checked = forget(config_path, "ada", "--check", "--json")
    assert (checked.exit_code, counts(checked)["event log"]) == (1, (6, 6))
    again = forget(config_path, "ada", "--json")
    assert (again.exit_code, counts(again)["event log"]) == (0, (6, 0))
