"""A `Recommender` beside the processes of the command line, in one folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from recsys import Recommender
from recsys.errors import CheckpointError, StateError
from tests.recsys.recommender.conftest import DRINKS, TOML, prepared, world
from tests.serving.waiting import until

pytestmark = pytest.mark.slow


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A command, which ends at the end of the block as Ctrl-C ends it."""
    with subprocess.Popen(
        [sys.executable, "-m", "recsys", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said


def ranked(recommender: Recommender) -> list[str]:
    """The ranking for guest 0, who likes it hot; empty as long as no model is published."""
    try:
        return [row.item for row in recommender.rank(0, list(DRINKS))]
    except StateError:
        return []


def test_all_but_fit_works_beside_a_running_trainer_and_server(tmp_path: Path, graphs: Path) -> None:
    file = prepared(tmp_path, graphs) / "recsys.toml"
    file.write_text(TOML)
    with Recommender(file) as here, running("train", "-c", str(file)) as trainer:
        assert here.ingest(world(300)).accepted == 604
        until(lambda: ranked(here), 120)
        with pytest.raises(CheckpointError, match=rf"in use by process {trainer.pid} \(__main__.py train -c .*: stop"):
            here.fit()
        until(lambda: {*ranked(here)[:2]} == {"tea", "coffee"}, 120)
        assert here.ingest(world(50, first=300)).accepted == 100
        with running("serve", "-c", str(file), "--port", "0") as server:
            assert server.stdout is not None
            words = (word.rstrip(",") for line in server.stdout for word in line.split())
            url = next(word for word in words if word.startswith("http://"))
            with httpx.Client(base_url=url, timeout=120) as http:
                until(lambda: http.get("/readyz").status_code == 200)
                asked = {"user": "0", "items": list(DRINKS)}
                answer = http.post("/v1/rank", json=asked).raise_for_status().json()
            assert {one["item"] for one in answer["items"][:2]} == {"tea", "coffee"}
            assert here.recommend(0, 2)
            assert trainer.poll() is server.poll() is None
    with Recommender(file) as here:
        assert here.fit().steps > 80  # of 16 labels of the 1,400: nothing that was ingested is missing


def test_recommenders_of_one_folder_take_turns_at_fit(tmp_path: Path, graphs: Path) -> None:
    file = prepared(tmp_path, graphs) / "recsys.toml"
    file.write_text(TOML)
    with Recommender(file) as first, Recommender(file) as second:
        first.ingest(world(60))
        steps = first.fit().steps
        assert second.fit().new_steps == 0
        second.ingest(world(60, first=60))
        assert first.fit().steps > steps
        assert ranked(first) == ranked(second) != []
