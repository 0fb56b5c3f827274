"""`recsys demo`: the whole loop, on the ratings of a few users."""

from __future__ import annotations

import csv
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from recsys import wiring
from recsys.commands.demo import command as demo
from recsys.commands.output.terminal import plain_console
from recsys.config.file import load, parse
from recsys.config.sections.learning.models import SECTIONS
from recsys.datasets.movielens import movielens_small
from recsys.datasets.registry import EXAMPLES
from recsys.errors import InvalidValueError
from recsys.evaluation.replay.replay_result import ReplayResult
from serving.api.messages.schemas import RankRequest
from serving.replication.embedded_redis import EmbeddedRedis
from tests.projects import share_graphs

SOURCE = EXAMPLES / "ml-latest-small"
USERS = {"15", "48", "163", "380", "624", "628", "664"}
"""Rated before the demo's split and after it."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """MovieLens small with the ratings of `USERS`."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "movies.csv").write_bytes((SOURCE / "movies.csv").read_bytes())
    with (SOURCE / "ratings.csv").open(newline="") as source, (folder / "ratings.csv").open("w", newline="") as target:
        head, *rows = csv.reader(source)
        csv.writer(target).writerows([head, *(row for row in rows if row[0] in USERS)])
    return folder


@pytest.mark.parametrize("inside", ["thesis.tex", "recsys.toml"])
def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, data: Path, inside: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / inside).write_text("years of work")
    with pytest.raises(InvalidValueError, match="name another --folder"):
        demo.run(folder, keep=False, data=data)
    assert (folder / inside).read_text() == "years of work"


def test_an_empty_folder_and_that_of_an_earlier_demo_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    demo._prepare(folder)
    (folder / "old").touch()
    assert demo._prepare(folder).is_file()
    assert not (folder / "old").exists()


def test_it_closes_with_the_way_to_data_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    demo._outlook(plain_console(), 1.0)
    said = capsys.readouterr().out
    assert said.index("recsys init --from") < said.index("recsys ingest") < said.index("recsys train")


def test_a_demo_that_is_terminated_ends_what_it_started() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), demo._terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_the_ranking_changes_and_the_replay_is_written(
    tmp_path: Path, data: Path, graphs: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = demo._prepare

    def prepared(folder: Path) -> Path:
        file = prepare(folder)
        share_graphs(load(file).training.checkpoints, graphs)
        return file

    monkeypatch.setattr(demo, "_prepare", prepared)
    folder = tmp_path / "demo"
    demo.run(folder, keep=False, data=data)
    said = " ".join(capfd.readouterr().out.split())
    for number in range(1, 6):
        assert f"{number}. " in said
    assert "is in the arm 'online'" in said
    assert "The liked films" in said
    assert "From posting the likes to a changed score:" in said
    assert "fell: what is shown and not liked is learned as well" in said
    assert said.count("report.html") == 1
    assert "[green]" not in said
    found = ReplayResult.from_json((folder / "replay" / "result.json").read_bytes())
    assert [arm.name for arm in found.arms] == ["frozen", *(f"online@{refresh}" for refresh in demo.REFRESH)]
    assert (folder / "whole-log").is_dir()  # a log of its own, so that the demo's clicks make nothing late
    assert found.counts["late"] == found.counts["late_impressions"] == 0
    assert found.counts["positives_scored"] > 100
    for name in ("serve.log", "train.log"):
        assert "Traceback" not in (folder / name).read_text()


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's configuration beside a log of its first ratings; Redis runs there."""
    path = demo._prepare(tmp_path_factory.mktemp("models"))
    first = islice(movielens_small(SOURCE), 1)
    with closing(wiring.event_log(load(path))) as log:
        for batch in first:
            log.append(batch.slice(0, 3000))
    return path


@pytest.fixture(scope="module")
def running_redis(ratings: Path) -> Iterator[None]:
    with EmbeddedRedis(load(ratings).redis.folder):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("running_redis")
@pytest.mark.parametrize("name", SECTIONS)
def test_its_settings_train_and_serve_with_every_model(name: str, ratings: Path, graphs: Path) -> None:
    text = re.sub(r"\[model\]\n(.+\n)+", f'[model]\nname = "{name}"\n', ratings.read_text("utf-8"))
    text = text.replace('checkpoints = "checkpoints"', f'publish_as = "{name}"\ncheckpoints = "of-{name}"')
    arm = f'[[experiments]]\nname = "one"\narms = [{{ name = "only", model = "{name}" }}]\n'
    config = parse(text.partition("[[experiments]]")[0] + arm, ratings)
    share_graphs(config.training.checkpoints, graphs)
    with wiring.trainer(config, publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        assert type(trainer.learner.model.config) is SECTIONS[name]
        assert trainer.learner.steps > 0
    with closing(wiring.local_ranking(config)) as ranking:
        answer = ranking.rank(RankRequest(user="1", items=["31", "1029", "1061", "1129"]))
    assert answer.degraded == ()
    assert answer.shown.model.startswith(f"{name}@")
    assert len({round(score, 6) for score in answer.shown.scores}) > 1


def test_without_the_source_tree_it_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="make demo"):
        demo.run(tmp_path / "demo", keep=False, data=tmp_path / "nowhere")
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_a_step_that_fails_is_named(tmp_path: Path, data: Path) -> None:
    (data / "ratings.csv").unlink()
    with pytest.raises(InvalidValueError, match=r"`recsys ingest .*` failed with exit status 1"):
        demo.run(tmp_path / "demo", keep=False, data=data)
