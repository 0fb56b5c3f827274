"""`Recommender`: the whole way in one process, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from click.testing import CliRunner

import recsys
from recsys import Config, Recommender, wiring
from recsys.cli import main
from recsys.errors import ConfigError, InvalidValueError, RecsysError, StateError
from serving.assembly import build
from serving.model.scorer import load_scorer
from serving.replication.embedded_redis import socket_path
from tests.recsys.recommender.conftest import DRINKS, START, TOML, config, prepared, world
from tests.serving.running import running
from tests.serving.waiting import until

pytestmark = pytest.mark.slow


def test_it_learns_what_guests_like_and_goes_on_from_where_it_was(fresh: Recommender) -> None:
    assert fresh.ingest(world(200)).accepted == len(world(200))
    first = fresh.fit()
    assert first.resumed is None
    assert first.new_steps == first.steps > 20
    ranked = fresh.rank(0, list(DRINKS))
    assert {row.item for row in ranked[:2]} == {"tea", "coffee"}
    assert {row.item for row in fresh.rank(1, list(DRINKS), k=2)} == {"cola", "water"}
    fresh.ingest(world(100, first=200))
    second = fresh.fit()
    assert second.resumed is not None
    assert second.steps == first.steps + second.new_steps
    assert second.new_steps > 10
    assert fresh.rank(0, list(DRINKS)).model.startswith(f"online@step-{second.steps}-")


def test_recommendations_come_from_what_was_shown(fitted: Recommender) -> None:
    found = fitted.recommend(0, 3)
    assert len(found) == 3
    assert {row.item for row in found} <= DRINKS.keys()
    assert [row.score for row in found] == sorted((row.score for row in found), reverse=True)
    assert "tea" not in {row.item for row in fitted.recommend(0, 4, exclude=["tea"])}
    assert set(found.to_pandas()["source"]) <= {"popular", "recent"}


def test_answers_equal_those_of_the_server(fitted: Recommender) -> None:
    log = wiring.event_log(fitted.config)
    app = build(wiring.server(fitted.config), log, load_scorer)
    time = START + 5_000_000
    with running(app) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        for user in ("0", "1", "never seen"):
            question = {"user": user, "time": time, "features": {"device": "phone"}}
            ranked = _answer(client, "/v1/rank", question | {"items": [*DRINKS, "unknown"]})
            here = fitted.rank(user, [*DRINKS, "unknown"], features={"device": "phone"}, time=time)
            assert [tuple(row) for row in here] == ranked
            recommended = _answer(client, "/v1/recommend", question | {"count": 3})
            assert [
                tuple(row) for row in fitted.recommend(user, 3, features={"device": "phone"}, time=time)
            ] == recommended
    log.close()


def _answer(client: httpx.Client, path: str, question: Mapping[str, object]) -> list[tuple[str, float]]:
    answer = client.post(path, json=question).raise_for_status().json()
    assert answer["degraded"] == []
    return [(item["item"], item["score"]) for item in answer["items"]]


def test_the_unknown_and_the_empty_are_fine(fitted: Recommender) -> None:
    assert len(fitted.recommend("nobody yet", 2)) == 2
    assert len(fitted.rank("nobody yet", ["mate"])) == 1
    empty = fitted.rank("0", [])
    assert len(empty) == 0
    assert empty.impression is None
    assert empty.to_arrow().num_rows == 0


@pytest.mark.parametrize(
    "items",
    [
        ["1", "2", "3"],
        [1, 2, 3],
        (one for one in (1, 2, 3)),
        range(1, 4),
        np.array([1, 2, 3]),
        np.array([1, 2, 3], np.uint16),
        np.array([1.0, 2.0, 3.0], np.float32),
        np.array(["1", "2", "3"]),
        np.array(["1", "2", "3"], object),
        np.array([b"1", b"2", b"3"]),
        pa.array([1, 2, 3]),
        pa.chunked_array([["1", "2"], ["3"]]),
        pd.Series([1, 2, 3]),
        pd.Series(["1", "2", "3"], dtype="category"),
    ],
    ids=lambda one: f"{type(one).__name__} {getattr(one, 'dtype', '')}",
)
def test_items_and_users_are_named_as_ingest_names_them(fitted: Recommender, items: Iterable[object]) -> None:
    ranking = fitted.rank(np.int64(0), items)
    assert sorted(one.item for one in ranking) == ["1", "2", "3"]
    assert ranking.impression is not None
    assert ranking.impression.user == "0"


@pytest.mark.parametrize("user", [0, np.int32(0), np.float64(0), np.str_("0"), pa.scalar(0), pa.scalar("0")], ids=repr)
def test_a_user_is_named_as_ingest_names_it(fitted: Recommender, user: object) -> None:
    asked = fitted.recommend(user, 2, exclude=pa.array(["tea"])).impression
    assert asked is not None
    assert asked.user == "0"
    assert "tea" not in asked.items


def test_a_ranking_can_be_ingested_with_what_the_user_did(fitted: Recommender) -> None:
    shown = fitted.rank(0, list(DRINKS), features={"device": "phone"}).impression
    assert shown is not None
    assert shown.user == "0"
    assert shown.features == {"device": "phone"}
    assert shown.item_features["temperature"] == [DRINKS[item] for item in shown.items]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda r: r.rank("0", ["tea", "tea"]), "duplicate item 'tea'"),
        (lambda r: r.rank("", ["tea"]), "user"),
        (lambda r: r.rank("0", "tea"), "items: give a list"),
        (lambda r: r.rank("0", b"tea"), "items: give a list"),
        (lambda r: r.rank("0", {"tea": 1}), "items: give a list"),
        (lambda r: r.rank("0", pd.DataFrame({"item": ["tea"]})), "items: give a list"),
        (lambda r: r.rank("0", pa.table({"item": ["tea"]})), "items: give a list"),
        (lambda r: r.rank("0", 5), "items: 5 is not a list"),
        (lambda r: r.rank("0", np.array([["tea"], ["mate"]])), "is an array"),
        (lambda r: r.rank("0", [0.5]), "0.5"),
        (lambda r: r.rank(["0"], ["tea"]), "is a list"),
        (lambda r: r.recommend("0", exclude="tea"), "exclude: give a list"),
        (lambda r: r.recommend("0", 0), "k is 0, write a whole number from 1 to 10,000"),
        (lambda r: r.recommend(1.5), "1.5"),
        (lambda r: r.recommend(None), "None"),
        (lambda r: r.rank("0", ["tea"], features={"device": ["a"]}), "features.device"),
        (lambda r: r.rank("0", ["tea"], item_features={"temperature": []}), "item_features.temperature"),
        (
            lambda r: r.rank("0", ["tea"], item_features={"temperature": "hot"}),
            "Expected an object of features by name",
        ),
        (lambda r: r.rank("0", ["tea"], time="yesterday"), "time: 'yesterday'"),
        (lambda r: r.replay(1.5), "batch_until"),
        (lambda r: r.replay(0.5, refresh="never"), "refresh: 'never'"),
        (lambda r: r.replay(0), "the batch stage would end at 1970-01-01"),
    ],
)
def test_what_the_server_refuses_is_refused_by_name(fitted: Recommender, ask: object, words: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        ask(fitted)  # type: ignore[operator]
    assert words in str(refused.value)
    assert "--" not in str(refused.value)  # which would be an option of a command


def test_before_the_first_fit_there_is_a_clear_error(fresh: Recommender) -> None:
    with pytest.raises(StateError, match=r"call fit\(\) first"):
        fresh.recommend("0")
    with pytest.raises(StateError, match=r"call fit\(\) first"):
        fresh.rank("0", ["tea"])


def test_a_log_without_a_batch_says_so(fresh: Recommender) -> None:
    fresh.ingest(world(1))
    done = fresh.fit()
    assert done.rows == 0
    assert "Nothing learned" in repr(done)


def test_it_goes_on_after_a_restart_and_beside_the_command_line(tmp_path: Path, graphs: Path) -> None:
    with Recommender(config(), folder=prepared(tmp_path, graphs)) as first:
        first.ingest(world(100))
        done = first.fit()
        ranked = first.rank(0, list(DRINKS))
    file = tmp_path / "recsys.toml"
    file.write_text(TOML)
    said = CliRunner().invoke(main, ["train", "-c", str(file), "--once"])
    assert said.exit_code == 0, said.output
    assert "Resumed" in said.output
    assert f"Stopped after {done.steps:,} steps" in said.output
    with Recommender(file) as second:
        assert [tuple(row) for row in second.rank(0, list(DRINKS))] == [tuple(row) for row in ranked]
        assert second.fit().new_steps == 0


def test_nothing_is_left_behind(tmp_path: Path, graphs: Path) -> None:
    process = psutil.Process()
    threads, files = set(threading.enumerate()), {file.path for file in process.open_files()}
    sockets, children = len(process.net_connections("all")), process.children()
    made = Recommender(config(), folder=prepared(tmp_path, graphs))
    made.ingest(world(20))
    made.fit()
    made.rank("0", ["tea"])
    pid = int((tmp_path / "run" / "redis" / "redis.pid").read_text())
    assert psutil.pid_exists(pid)
    assert set(threading.enumerate()) - threads
    made.close()
    made.close()
    until(lambda: not psutil.pid_exists(pid))
    assert set(threading.enumerate()) - threads == set()
    assert {file.path for file in process.open_files()} - files == set()
    assert len(process.net_connections("all")) <= sockets
    assert process.children() == children
    with pytest.raises(StateError, match="closed"):
        made.recommend("0")


def test_a_script_needs_neither_a_guard_nor_close(tmp_path: Path) -> None:
    """The process that traces the model must not run the script again, and the embedded Redis ends with the script.

    PyTorch's compiler, which takes seconds to load, is loaded in that process alone.
    """
    script = tmp_path / "script.py"
    script.write_text(
        "print('begun', flush=True)\n"
        "from recsys import Recommender\n"
        "from tests.recsys.recommender.conftest import config, world\n"
        f"r = Recommender(config(), folder={str(tmp_path)!r})\n"
        "r.ingest(world(50))\n"
        "r.fit()\n"
        "print(len(r.recommend(0, 2)), 'recommended')\n"
        "import sys\n"
        "print({'torch', 'torch._dynamo', 'torch._inductor', 'onnxscript'} & set(sys.modules))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(recsys.__file__).parents[1])}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "begun\n2 recommended\n{'torch'}\n"
    assert (tmp_path / "run" / "redis" / "rows.rdb").exists()
    until(lambda: not socket_path(tmp_path / "run" / "redis").exists())


def test_nothing_is_printed(tmp_path: Path, graphs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Recommender(config(), folder=prepared(tmp_path, graphs)) as made:
        made.ingest(world(50))
        made.fit()
        made.recommend("0")
        made.replay(0.5, refresh="2 slices")
    assert capfd.readouterr().out == ""


def test_a_file_that_is_not_valid_is_an_error_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "recsys.toml"
    file.write_text("[training]\nbatch_size = 0\n")
    with pytest.raises(ConfigError, match="line 2"):
        Recommender(file)
    with pytest.raises(ConfigError, match="recsys init"):
        Recommender(str(tmp_path / "none.toml"))
    with pytest.raises(InvalidValueError, match="folder"):
        Recommender(file, folder=tmp_path)


def test_settings_that_are_not_valid_are_an_error_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        Recommender({"training": {"batch_size": 0}, "serving": {"prot": 80}}, folder=tmp_path)
    assert {line.split(":")[0] for line in str(refused.value).splitlines()} == {"training.batch_size", "serving.prot"}
    assert not any(tmp_path.iterdir())


def test_paths_begin_at_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Recommender({"log": {"url": "file:own/log"}}, folder="here") as made:
        assert made.config.log.url == f"file:{tmp_path}/here/own/log"
    with Recommender(Config()) as made:
        assert made.config.training.checkpoints == tmp_path / "run" / "checkpoints"


def test_names_are_imported_when_used() -> None:
    """The command line answers at once: `import recsys` imports neither the recommender nor NumPy."""
    code = "import sys, recsys; print(sorted(set(sys.modules) & {'numpy', 'pydantic', 'recsys.recommender'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert recsys.Config is Config
    with pytest.raises(AttributeError):
        recsys.Nothing  # noqa: B018


def test_a_missing_dependency_is_named_with_what_to_install() -> None:
    code = "import sys; sys.modules['pyarrow'] = None\nfrom recsys import Recommender"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "RecsysError: Recommender needs `pip install 'recsys[all]'`: no module named pyarrow" in done.stderr


def test_every_error_is_of_the_tree(fitted: Recommender) -> None:
    assert issubclass(StateError, RecsysError)
    with pytest.raises(RecsysError):
        fitted.ingest(3.5)
