"""`recsys memory` from the configuration file to plot and table."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recsys import wiring
from recsys.cli import main
from recsys.evaluation.memory_study import study_report
from recsys.evaluation.memory_study import study_result as results
from streaming.ingest.codec import encode_events
from streaming.log.file_log import FileLog
from tests.recsys.evaluation.replay.test_command import CONFIG
from tests.recsys.evaluation.replay.worlds import moving_taste

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recsys.toml").write_text(CONFIG)
    log = FileLog(tmp_path / "log")
    log.append(encode_events(moving_taste(hours=5)))
    log.close()
    return tmp_path


def memory(folder: Path, *arguments: str) -> Result:
    """Into `out`, if no other `--out` is among the arguments."""
    out = ("--out", str(folder / "out"))
    return CliRunner().invoke(main, ["memory", "-c", str(folder / "recsys.toml"), *out, *arguments])


def test_it_writes_plot_and_table(folder: Path) -> None:
    arguments = ("--try", "user.capacity=1/2", "--try", "item.ttl=1h", "--seeds", "1", "--model", "fm")
    shown = memory(folder, "--batch-until", "0.5", *arguments)
    assert shown.exit_code == 0, shown.output
    assert "user.capacity=1/2" in shown.output
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "auc_against_memory.svg",
        "result.json",
        "table.md",
    ]
    found = results.StudyResult.from_json((folder / "out" / "result.json").read_bytes())
    assert [point.name for point in found.points] == ["unbounded", "user.capacity=1/2", "item.ttl=1h"]
    assert found.config["model"]["name"] == "fm"
    assert str(folder) not in (folder / "out" / "result.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch-until", "0.5", "--try", "user=1/2"), "--try: 'user=1/2' is not TABLE.KEY=VALUE"),
        (("--batch-until", "1.5"), "--batch-until: a share is between 0 and 1"),
        (("--batch-until", "soon"), "--batch-until: 'soon' is not an ISO 8601 time"),
        (("--batch-until", "0.5", "--refresh", "often"), "--refresh: 'often' is neither a positive interval"),
        (("--batch-until", "2030-01-01"), "choose a time between them"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    shown = memory(folder, *arguments)
    assert shown.exit_code == 1
    assert message in " ".join(shown.output.split())
    assert "Traceback" not in shown.output


def test_a_slip_is_found_before_the_log_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "event_log", lambda _config: pytest.fail("the log was opened"))
    (folder / "file").touch()
    (folder / "out").mkdir()
    (folder / "out" / "result.json").write_text("{}")
    for arguments, message in (
        (("--batch-until", "1.5"), "--batch-until: a share is between 0 and 1"),
        (("--batch-until", "0.5"), "not a result of `recsys memory`"),
        ((), "not a result of `recsys memory`"),  # --batch-until has a default
        (
            ("--batch-until", "0.5", "--out", str(folder / "file")),
            "is a file; choose another folder, or remove it",
        ),
        (("--batch-until", "0.5", "--out", str(folder / "file" / "below")), "is a file; choose another folder"),
    ):
        shown = memory(folder, *arguments)
        assert shown.exit_code == 1
        assert message in " ".join(shown.output.split())


SMALL = ("--batch-until", "0.5", "--model", "fm")


def test_an_earlier_study_stays_and_another_one_is_refused(folder: Path) -> None:
    assert memory(folder, *SMALL, "--try", "user.ttl=1h", "--seeds", "2").exit_code == 0
    shown = memory(folder, *SMALL, "--try", "item.ttl=1h", "--seeds", "1")
    assert shown.exit_code == 0, shown.output
    assert "reused from" in shown.output
    assert "out: 1; remove the folder" in " ".join(shown.output.split())
    known = (folder / "out" / "result.json").read_bytes()
    points = results.StudyResult.from_json(known).points
    assert [(point.name, len(point.runs)) for point in points] == [
        ("unbounded", 2),
        ("item.ttl=1h", 1),
        ("user.ttl=1h", 2),
    ]
    other = memory(folder, *SMALL[:2], "--try", "user.ttl=1h", "--model", "autoint")
    assert other.exit_code == 1
    assert "model.name was 'fm' and is 'autoint'" in " ".join(other.output.split())
    assert "Choose another --out, or remove" in " ".join(other.output.split())
    assert (folder / "out" / "result.json").read_bytes() == known


def test_it_goes_on_after_ctrl_c(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, stopped = study_report.write, []

    def stop_after_the_first(result: results.StudyResult, out: Path) -> None:
        write(result, out)
        stopped.append(len(result.points))
        raise KeyboardInterrupt

    arguments = (*SMALL, "--try", "user.capacity=1/4", "--seeds", "1")
    with monkeypatch.context() as patched:
        patched.setattr(study_report, "write", stop_after_the_first)
        shown = memory(folder, *arguments)
    assert (shown.exit_code, stopped) == (130, [1])
    assert "out: 1; the same command continues" in " ".join(shown.output.split())
    shown = memory(folder, *arguments)
    assert shown.exit_code == 0, shown.output
    assert "out: 1; remove the folder" in " ".join(shown.output.split())
    table = (folder / "out" / "table.md").read_text()
    assert "[features.tables.user]\ncapacity = " in table
