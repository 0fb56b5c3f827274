"""`Recommender.replay`: the figures of `recsys replay` as frames and drawings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from recsys import Recommender
from recsys.cli import main
from recsys.evaluation.replay.replay_result import ReplayResult
from recsys.recommender.results.replayed import Replayed
from tests.recsys.recommender.conftest import START

pytestmark = pytest.mark.slow

CUT = datetime.fromtimestamp(START / 1000, UTC) + timedelta(seconds=1500)


@pytest.fixture(scope="module")
def replayed(fitted: Recommender) -> Replayed:
    """Half of the log, with two arms beside the frozen one."""
    return fitted.replay(CUT, refresh=["10m", "5 slices"])


def test_it_is_the_replay_of_the_command_line(replayed: Replayed, fitted: Recommender, tmp_path: Path) -> None:
    """To the byte; a share, a text and a datetime mean what they mean there."""
    log, checkpoints = fitted.config.log, fitted.config.training.checkpoints
    (tmp_path / "recsys.toml").write_text(
        f"[log]\nurl = '{log.url}'\n"
        "[features]\ndim = 4\ndefaults = { capacity = 1000 }\nfields = [{ name = 'user', source = 'user' }, "
        "{ name = 'item', source = 'item' }, { name = 'device', source = 'request.device' }, "
        "{ name = 'temperature', source = 'item.temperature' }]\n[model]\nname = 'fm'\nmlp = []\n"
        f"[training]\nbatch_size = 16\nwait = '1m'\nlateness = '1s'\nsparse_lr = 0.2\ncheckpoints = '{checkpoints}'\n"
    )
    options = ["--batch-until", CUT.isoformat(), "--refresh", "10m", "--refresh", "5 slices", "--out", str(tmp_path)]
    said = CliRunner().invoke(main, ["replay", "-c", str(tmp_path / "recsys.toml"), *options])
    assert said.exit_code == 0, said.output
    assert replayed.result.to_json() == (tmp_path / "result.json").read_bytes()
    again = fitted.replay(CUT.replace(tzinfo=None).isoformat(), refresh=["10m", "5 slices"])
    assert again.result == replayed.result


def test_the_frames_hold_the_figures(replayed: Replayed) -> None:
    arms = replayed.arms.to_pandas().set_index("arm")
    assert list(arms.index) == ["frozen", "online@10m", "online@5 slices"]
    assert arms["auc"]["frozen"] == replayed.result.arm("frozen").all["auc"]
    assert arms["gain"]["online@10m"] == replayed.result.arm("online@10m").gains[0].auc
    windows = pa.table(replayed.over_time)
    assert windows.column_names == ["arm", "start", "rows", "auc"]
    assert windows.num_rows == 3 * len(replayed.result.windows)
    assert windows["start"][0].as_py() == datetime.fromtimestamp(replayed.result.windows[0].start / 1000, UTC)


def test_a_notebook_shows_it(replayed: Replayed, tmp_path: Path) -> None:
    shown = replayed._repr_html_()
    assert shown.count("<tr>") == 4
    assert "online@5 slices" in shown
    assert shown.count("<svg") == 1
    assert set(replayed.figures) == {"over_time", "by_interval", "reliability", "slices"}
    assert all(drawing._repr_svg_().startswith("<svg") for drawing in replayed.figures.values())
    replayed.figures["slices"].save(tmp_path / "slices.svg")
    assert (tmp_path / "slices.svg").read_text("utf-8") == replayed.figures["slices"].svg
    assert "| online@10m |" in repr(replayed)
    assert replayed.arms._repr_html_().count("<tr>") == 4


def test_it_saves_the_report(replayed: Replayed, tmp_path: Path) -> None:
    replayed.save(tmp_path / "report")
    assert ReplayResult.from_json((tmp_path / "report" / "result.json").read_bytes()) == replayed.result
    assert (tmp_path / "report" / "report.html").exists()


def test_it_changes_nothing_that_was_learned(fitted: Recommender) -> None:
    before = [tuple(row) for row in fitted.rank(0, ["tea", "cola"], time=START)]
    fitted.replay(0.5, refresh="2 slices")
    assert [tuple(row) for row in fitted.rank(0, ["tea", "cola"], time=START)] == before
