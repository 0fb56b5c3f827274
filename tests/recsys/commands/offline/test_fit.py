"""`recsys fit` and `recsys evaluate`, as a person meets them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.commands.offline import fit, tune
from recsys.commands.stopping import STOPPED
from recsys.config.file import load
from recsys.fit.fit import best_checkpoints, fit_folder, load_best
from recsys.fit.parts import read_parts
from recsys.fit.scoring import scores
from tests.recsys.commands.online.test_ingest import stopped
from tests.recsys.fit.conftest import CONFIG, ITEMS, LISTS, append

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "recsys.toml"
    path.write_text(CONFIG)
    append(path, 0, LISTS)
    return path


def recsys(path: Path, command: str, *options: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, [command, "-c", str(path), *options])
    assert result.exit_code == code, result.output
    return result.output


def fitted(path: Path) -> Path:
    out = path.parent / "out"
    assert "640 rows training, 80 rows validation, 80 rows test." in recsys(path, "fit", "--out", str(out))
    return out


def test_fit_writes_curves_and_figures(path: Path) -> None:
    out = fitted(path)
    assert len(json.loads((out / "fit.json").read_text())["epochs"]) == 4
    assert (out / "curves.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("command", [fit, tune], ids=["fit", "tune"])
def test_stopped_before_the_end_is_no_success(path: Path, monkeypatch: pytest.MonkeyPatch, command: ModuleType) -> None:
    """So that `recsys fit && recsys evaluate` does not go on."""
    name = command.__name__.rpartition(".")[2]
    monkeypatch.setattr(command, "stopping", stopped)
    assert "Run it again" in recsys(path, name, "--out", str(path.parent / "out"), code=STOPPED)


def test_evaluate_judges_the_best_epoch_on_rows_never_learned(path: Path) -> None:
    from sklearn.metrics import log_loss, roc_auc_score  # which takes seconds to load

    out = fitted(path)
    said = recsys(path, "evaluate", "--out", str(out))
    config = load(path)
    learner = wiring.learner(config)
    load_best(learner, best_checkpoints(fit_folder(config)))
    log = wiring.event_log(config)
    test = read_parts(config, log).test
    log.close()
    scores_R = scores(learner, test).astype(np.float64)
    expected = {
        "auc": roc_auc_score(test.labels_B, scores_R),
        "log_loss": log_loss(test.labels_B, scores_R),
        "calibration": scores_R.mean() / test.labels_B.mean(),
    }
    found = json.loads((out / "evaluation.json").read_text())["tasks"]["click"]
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert f"{expected['auc']:.4f}" in said
    assert not (out / "attention.svg").exists(), "an fm attends to nothing"


def test_evaluate_draws_what_the_fields_of_an_autoint_attend_to(path: Path) -> None:
    path.write_text(CONFIG.replace('name = "fm"\nmlp = [8]', 'name = "autoint"'))
    out = fitted(path)
    assert "What fields attend to" in recsys(path, "evaluate", "--out", str(out))
    attention = json.loads((out / "evaluation.json").read_text())["attention"]
    weights = np.array(attention["weights"])
    assert weights.shape == (len(attention["fields"]),) * 2
    assert {"user", "item"} <= set(attention["fields"])
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    drawn = (out / "attention.svg").read_text()
    assert drawn.startswith("<svg")
    assert f"{weights[0, 0]:.2f}" in drawn


def test_online_training_goes_on_after_the_training_part(path: Path) -> None:
    fitted(path)
    append(path, LISTS, 20)
    said = recsys(path, "train", "--once", "--no-publish")
    assert "Resumed from" in said
    held_back = ITEMS * (40 + 20)
    assert f"{held_back // 64 * 64} rows learned" in said


def test_after_a_random_split_it_goes_on_at_the_end_of_the_log(path: Path) -> None:
    path.write_text(CONFIG + 'split = "random"\n')
    recsys(path, "fit", "--out", str(path.parent / "out"))
    append(path, LISTS, 33)
    said = recsys(path, "train", "--once", "--no-publish")
    assert "128 rows learned" in said  # of 132 new ones


def test_labels_that_are_all_the_same_are_warned_of(path: Path) -> None:
    path.write_text(CONFIG.replace("[training]", '[training]\npositive = ["buy"]'))
    assert "None of the 640 labels is positive" in recsys(path, "fit", "--out", str(path.parent / "out"))


def test_a_folder_that_training_uses_is_refused(path: Path) -> None:
    recsys(path, "train", "--once", "--no-publish")
    said = recsys(path, "fit", "--out", str(path.parent / "out"), code=1)
    assert "has checkpoints already, which `recsys train` goes on from: name an empty folder" in said


def test_what_was_not_fitted_cannot_be_evaluated(path: Path) -> None:
    said = recsys(path, "evaluate", "--out", str(path.parent / "out"), code=1)
    assert "run `recsys fit` first" in said
    fitted(path)
    path.write_text(CONFIG.replace("mlp = [8]", "mlp = [9]"))
    said = recsys(path, "evaluate", "--out", str(path.parent / "out"), code=1)
    assert "it is of another model: mlp is [8] in the checkpoint, [9] in the configuration" in said
