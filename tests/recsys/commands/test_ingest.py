"""`recsys ingest`, as a person meets it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recsys.cli import main
from recsys.commands import ingest
from recsys.commands.stopping import STOPPED
from recsys.datasets.registry import DATASETS
from streaming.ingest import sources
from streaming.log.file_log import FileLog


def run(folder: Path, *files: str, options: tuple[str, ...] = ()) -> Result:
    config = folder / "recsys.toml"
    config.touch()
    return CliRunner().invoke(main, ["ingest", "-c", str(config), *options, *(str(folder / file) for file in files)])


def events(path: Path, count: int) -> None:
    lines = (f'{{"type":"interaction","time":{i},"impression":"{path.stem}{i}","item":"a"}}' for i in range(count))
    path.write_text("\n".join(lines) + "\n")


def stored(folder: Path) -> int:
    return sum(FileLog(folder / "run" / "log").end())


@pytest.mark.parametrize(("name", "wrong"), [("missing.jsonl", "does not exist"), ("", "is a folder")])
def test_a_slip_in_one_name_ingests_nothing(tmp_path: Path, name: str, wrong: str) -> None:
    events(tmp_path / "a.jsonl", 10)
    result = run(tmp_path, "a.jsonl", name)
    assert result.exit_code == 1
    assert wrong in result.output
    assert stored(tmp_path) == 0


def test_stopped_it_reads_no_further_and_goes_on_when_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", 1000)
    for name in ("a.jsonl", "b.jsonl"):
        events(tmp_path / name, 100)

    @contextmanager
    def stopped() -> Iterator[threading.Event]:
        stop = threading.Event()
        stop.set()
        yield stop

    with monkeypatch.context() as patched:
        patched.setattr(ingest, "stopping", stopped)
        result = run(tmp_path, "a.jsonl", "b.jsonl")
    first = stored(tmp_path)
    assert result.exit_code == STOPPED
    assert f"{first} read" in result.output
    said = "".join(result.output.split())
    for name in ("a.jsonl", "b.jsonl"):  # which are of the same times
        assert f"line{first // 2 + 1}of{tmp_path / name}" in said
    assert 0 < first < 40
    assert run(tmp_path, "a.jsonl", "b.jsonl").exit_code == 0
    assert stored(tmp_path) == 200


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_folder_without_the_data_set_is_named(tmp_path: Path, dataset: str) -> None:
    result = run(tmp_path, "nothing", options=("--dataset", dataset))
    assert result.exit_code == 1
    assert f"{tmp_path / 'nothing'} does not hold the data set {dataset}: " in result.output


def test_a_data_set_is_ingested_with_its_card(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,7,4.5,900\n1,8,2.0,910\n")
    (data / "movies.csv").write_text("movieId,title,genres\n7,Heat (1995),Crime\n8,Sabrina (1995),Comedy\n")
    result = run(tmp_path, "data", options=("--dataset", "movielens-small"))
    assert result.exit_code == 0, result.output
    assert "2 ratings" in result.output
    assert "4 read = 4 accepted" in result.output
    assert stored(tmp_path) == 4
