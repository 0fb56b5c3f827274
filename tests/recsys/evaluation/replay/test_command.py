"""`recsys replay` from the configuration file to the report."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recsys import wiring
from recsys.cli import main
from recsys.evaluation.replay import replay_result as results
from streaming.ingest.codec import encode_events
from streaming.log.file_log import FileLog
from tests.recsys.evaluation.replay.worlds import moving_taste

pytestmark = pytest.mark.slow

CONFIG = """
[log]
url = "file:log"

[features]
dim = 4

[model]
layers = 1
heads = 1
units = 8
mlp = [8]

[training]
batch_size = 16
wait = "1m"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recsys.toml").write_text(CONFIG)
    log = FileLog(tmp_path / "log")
    log.append(encode_events(moving_taste(hours=5)))
    log.close()
    return tmp_path


def replay(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["replay", "-c", str(folder / "recsys.toml"), *arguments])


def test_it_writes_a_report_and_prints_the_table(folder: Path) -> None:
    shown = replay(folder, "--batch-until", "2017-07-14T06:00", "--refresh", "1h", "--out", str(folder / "by time"))
    assert shown.exit_code == 0, shown.output
    assert "online@1h" in shown.output
    assert sorted(path.name for path in (folder / "by time").iterdir()) == [
        "by_interval.svg",
        "over_time.svg",
        "report.html",
        "result.json",
        "table.md",
    ]
    found = results.ReplayResult.from_json((folder / "by time" / "result.json").read_bytes())
    assert [arm.name for arm in found.arms] == ["frozen", "online@1h"]
    assert str(folder) not in (folder / "by time" / "result.json").read_text()


def test_a_second_run_gives_the_same_files(folder: Path) -> None:
    for name in ("one", "two"):
        shown = replay(folder, "--batch-until", "0.8", "--refresh", "2 slices", "--out", str(folder / name / "replay"))
        assert shown.exit_code == 0, shown.output
    first, second = (
        {path.name: path.read_bytes() for path in (folder / name / "replay").iterdir()} for name in ("one", "two")
    )
    assert {"result.json", "report.html"} <= first.keys()
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch-until", "yesterday"), "--batch-until: 'yesterday' is not an ISO 8601"),
        (("--batch-until", "1.5"), "--batch-until: a share is between 0 and 1"),
        (("--batch-until", "2030-01-01"), "choose a time between them"),
        (("--batch-until", "0.5", "--refresh", "often"), "--refresh: 'often' is neither a positive interval"),
        (("--batch-until", "0.5", "--refresh", "5x"), "--refresh: '5x' is neither a positive interval"),
        (("--batch-until", "0.5", "--refresh", "0 slices"), "such as '50 slices'"),
        (("--batch-until", "0.5", "--until", "soon"), "--until: 'soon' is not an ISO 8601 time"),
        (
            ("--batch-until", "2001-01-01"),
            "the batch stage would end at 2001-01-01T00:00:00+00:00, not after the first impression",
        ),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    shown = replay(folder, *arguments, "--out", str(folder / "out"))
    assert shown.exit_code == 1
    assert message in " ".join(shown.output.split())
    assert "Traceback" not in shown.output


def test_an_out_that_is_no_folder_is_told_at_the_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "event_log", lambda _config: pytest.fail("the log was opened"))
    (folder / "file").touch()
    for out, batch_until, message in (
        ("file", "0.8", "is a file; choose another folder, or remove it"),
        ("file/below", "0.8", "is a file; choose another folder"),
        ("new", "0", "--batch-until: a share is between 0 and 1"),
    ):
        shown = replay(folder, "--batch-until", batch_until, "--out", str(folder / out))
        assert shown.exit_code == 1
        assert message in " ".join(shown.output.split())
    assert not (folder / "new").exists()
