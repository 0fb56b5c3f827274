"""`recsys experiments` on a log: figures, notes, and what it says when there is nothing to show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.config.file import load
from serving.experiments.counts.judged_experiments import published_judged
from serving.replication.embedded_redis import EmbeddedRedis, connect
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events

EXPERIMENT = """
[log]
url = "file:log"
[training]
positive = ["like"]
[[experiments]]
name = "ab"
arms = [{ name = "control", model = "popularity" }, { name = "treatment", model = "online" }]
"""
DAY = 86_400_000
START = 20_000 * DAY


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recsys.toml").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill(folder: Path, users: int = 400) -> None:
    """Every user is seen twice before, and twice in an arm, by which the treatment's like twice as often."""
    from recsys import wiring

    (experiment,) = (section.to_experiment() for section in load(folder / "recsys.toml").experiments)
    events: list[Event] = []
    for number in range(users):
        user = f"u{number}"
        arm = experiment.arm(user).name
        for place, time in enumerate((START - DAY, START - DAY, START, START + DAY)):
            name = f"{user}-{place}"
            within = ("ab", arm) if time >= START else ("", "")
            events.append(Impression(name, time, user, ["x"], experiment=within[0], arm=within[1]))
            if number % 5 == 0 or (time >= START and arm == "treatment" and number % 5 == 1):
                events.append(Interaction(time=time, impression=name, item="x", action="like"))
    log = wiring.event_log(load(folder / "recsys.toml"))
    log.append(encode_events(sorted(events, key=lambda event: event.time)))
    log.close()


def said(*options: str) -> str:
    done = CliRunner().invoke(main, ["experiments", *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_table_has_the_arms_and_what_adjusts_them(folder: Path) -> None:
    fill(folder)
    text = said()
    assert "Experiment ab, since 2024-10-04T00:00:00Z" in text
    assert "better" in text
    assert "Differences are adjusted by what users did since 2024-09-20T00:00:00Z" in text


def test_every_figure_for_programs(folder: Path) -> None:
    fill(folder)
    (found,) = json.loads(said("--json"))
    control, treatment = found["summary"]["arms"]
    assert control["users"] + treatment["users"] == 400
    assert control["impressions"] == 2 * control["users"]
    assert treatment["ctr"] > 1.5 * control["ctr"]
    assert found["adjusted"][0]["variance_left"] < 1
    (later,) = json.loads(said("--json", "--since", "2024-10-05", "--before", "1h"))
    assert later["summary"]["arms"][0]["impressions"] == control["users"]
    assert later["adjusted"] == []


def test_goals_have_a_table_of_their_own_and_the_same_figures_for_programs(folder: Path) -> None:
    goals = """goals = [
        { name = "likers", kind = "conversion", task = "click" }, { name = "back", kind = "return", within = "1d" },
    ]
    """
    (folder / "recsys.toml").write_text(EXPERIMENT + goals)
    fill(folder)
    assert re.search(r"likers +control +\d+ +0\.1", said())
    (found,) = json.loads(said("--json"))
    likers, back = found["goals"]
    control, treatment = likers["arms"]
    assert treatment["mean"] > 1.5 * control["mean"]
    assert likers["comparisons"][0]["verdict"] == "better"
    assert [arm["users"] for arm in back["arms"]] == [arm["users"] for arm in found["summary"]["arms"]]
    assert back["comparisons"][0]["verdict"] == "too few data", "everybody came back"


def test_guardrails_stand_beside_and_say_what_they_lack(folder: Path) -> None:
    (folder / "recsys.toml").write_text(EXPERIMENT + 'guardrails = [{ name = "latency" }, { name = "diversity" }]\n')
    fill(folder)
    text = said()
    assert "Guardrail 'latency' has no data of control and treatment: their impressions in the log have" in text
    latency, diversity = json.loads(said("--json"))[0]["guardrails"]
    assert latency["comparisons"][0]["verdict"] == "no data"
    assert [arm["figure"] for arm in diversity["arms"]] == [0.5, 0.5], "all were shown the same item"


def test_what_is_published_is_what_is_printed(folder: Path) -> None:
    fill(folder)
    done = CliRunner().invoke(main, ["experiments", "--publish"])
    assert done.exit_code == 1
    assert "--publish: no Redis runs" in done.output
    with EmbeddedRedis(folder / "run/redis"), connect("", folder / "run/redis") as client:
        printed = json.loads(said("--json", "--publish"))
        found = published_judged(client)
    assert found is not None
    assert json.loads(msgspec.json.encode(found.experiments)) == printed


def test_the_time_before_may_be_longer_than_any_calendar(folder: Path) -> None:
    fill(folder)
    assert "adjusted by what users did since 1970-01-01T00:00:00Z" in said("--before", "10000000d")


@pytest.mark.parametrize("time", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"])
def test_a_time_that_is_out_of_range_in_utc(folder: Path, time: str) -> None:
    done = CliRunner().invoke(main, ["experiments", "--since", time])
    assert done.exit_code == 1
    assert f"--since: '{time}' is not an ISO 8601 time" in done.output


def test_a_log_without_the_experiment(folder: Path) -> None:
    done = CliRunner().invoke(main, ["experiments"])
    assert done.exit_code == 1
    assert "the log has no impression of experiment 'ab' yet" in done.output


def test_an_experiment_that_was_not_shown_yet_hides_no_other(folder: Path) -> None:
    fill(folder)
    second = EXPERIMENT[EXPERIMENT.index("[[experiments]]") :].replace('"ab"', '"new"')
    (folder / "recsys.toml").write_text(EXPERIMENT + second)
    text = said()
    assert "Experiment ab, since" in text
    assert "The log has no impression of experiment 'new' yet." in text
    assert [one["summary"]["name"] for one in json.loads(said("--json"))] == ["ab"]


def test_a_configuration_without_experiments(folder: Path) -> None:
    (folder / "recsys.toml").write_text('[log]\nurl = "file:log"\n')
    done = CliRunner().invoke(main, ["experiments"])
    assert done.exit_code == 1
    assert "has no [[experiments]]" in done.output
