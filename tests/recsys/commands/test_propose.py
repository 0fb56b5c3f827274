"""`recsys init --from` and `recsys inspect`: from files that nobody has described to a model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recsys.cli import main


def run(folder: Path, *words: str) -> Result:
    """A command in the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(main, list(words))


def learned(folder: Path, *files: str, said: tuple[str, ...] = ()) -> str:
    """What the training says that follows a proposal for the files."""
    for words in (
        ("init", "--from", *files, *said),
        ("check",),
        ("ingest", *files),
        ("train", "--once", "--no-publish"),
    ):
        result = run(folder, *words)
        assert result.exit_code == 0, result.output
    return result.output


def lists_and_clicks(folder: Path) -> list[str]:
    rng = random.Random(1)
    lists, clicks = ["query;when;visitor;shown;device"], ["when;query;product"]
    for i in range(400):
        items = rng.sample(range(30), 4)
        at = 1_700_000_000 + 30 * i
        lists.append(f"q{i};{at};v{i % 17};{' '.join(f'p{item}' for item in items)};{rng.choice(['tv', 'phone'])}")
        if rng.random() < 0.6:
            clicks.append(f"{at + 5};q{i};p{min(items)}")
    (folder / "lists.csv").write_text("\n".join(lists) + "\n")
    (folder / "clicks.csv").write_text("\n".join(clicks) + "\n")
    return ["lists.csv", "clicks.csv"]


KINDS: dict[str, Callable[[Path], list[str]]] = {"lists and clicks": lists_and_clicks}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_nobody_described_trains_a_model(tmp_path: Path, kind: str) -> None:
    said = learned(tmp_path, *KINDS[kind](tmp_path))
    assert "rows learned" in said
    assert "Not learned" not in said


def test_a_proposal_has_delimiter_unit_separator_and_features(tmp_path: Path) -> None:
    files = lists_and_clicks(tmp_path)
    assert run(tmp_path, "init", "--from", *files).exit_code == 0
    text = (tmp_path / "recsys.toml").read_text()
    for part in (
        'delimiter = ";"',
        'separator = " "',
        'time_unit = "s"',
        'impression = "query"',
        'source = "request.device"',
    ):
        assert part in text


def test_inspect_writes_nothing(tmp_path: Path) -> None:
    files = lists_and_clicks(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = run(tmp_path, "inspect", *files)
    assert result.exit_code == 0
    assert "visitor" in result.output
    assert "accepted" in result.output
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", b"", "is empty"),
        ("head.csv", b"user,item,time\n", "has a header and no rows"),
        ("one.csv", b"user,item,time\nu,i,1700000000\n", "has one row only"),
        ("table.orc", b"ORC\x00\x01", "is an ORC file"),
        ("picture.csv", bytes(range(256)) * 20, "is a binary file"),
        ("archive.zip", b"PK\x03\x04more", "is a ZIP archive"),
        ("plain.csv", b"\x1f\x8bmore", "let its name end with .gz"),
        ("words.txt", b"one\ntwo\nthree\n", "is no table"),
        ("array.json", b'[{"user": 1},\n{"user": 2}]\n', "one object a line"),
        ("mac.csv", b"user,item\ru,i\rv,j\r", "carriage return"),
        ("twice.csv", b"user,item,user\na,b,c\nd,e,f\n", "2 columns 'user'"),
        ("torn.parquet", b"PAR1torn", "cannot be read"),
        ("missing.csv", None, "does not exist"),
        ("folder", None, "is a folder"),
    ],
)
def test_what_is_no_table_is_one_error_and_nothing_is_written(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    elif name == "folder":
        (tmp_path / name).mkdir()
    result = run(tmp_path, "init", "--from", name)
    assert result.exit_code == 1
    assert says in result.output
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "recsys.toml").exists()


def test_lists_without_clicks_are_not_enough(tmp_path: Path) -> None:
    lists_and_clicks(tmp_path)
    result = run(tmp_path, "init", "--from", "lists.csv")
    assert result.exit_code == 1
    assert "give the file of their clicks as well" in result.output


def test_clicks_of_other_lists_are_told(tmp_path: Path) -> None:
    lists_and_clicks(tmp_path)
    clicks = tmp_path / "clicks.csv"
    clicks.write_text(clicks.read_text().replace(";q", ";other"))
    result = run(tmp_path, "init", "--from", "lists.csv", "clicks.csv")
    assert result.exit_code == 1
    assert "no column has the ids of the lists in lists.csv" in result.output


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    lists_and_clicks(tmp_path)
    result = run(tmp_path, "init", "--from", "lists.csv", "--user", "person")
    assert result.exit_code == 1
    assert "--user person: there is no such column" in result.output
