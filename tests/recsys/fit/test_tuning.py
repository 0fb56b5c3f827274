"""A search for settings: the same number of trials for each model, repeatable, and resumed after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import optuna
import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.commands.offline import tune
from recsys.config.file import load, parse
from recsys.config.schema import Config
from recsys.errors import ConfigError, InvalidValueError
from recsys.fit.fit import Fit
from recsys.fit.parts import Parts, read_parts
from recsys.fit.tuning.trial_fit import FitsHere
from recsys.fit.tuning.tuning import JOURNAL, Tuning
from tests.recsys.fit.conftest import CONFIG

TUNE = (
    CONFIG.replace("epochs = 4", "epochs = 2")
    + """
[tune]
trials = 2
models = ["fm", "lr"]
[tune.settings]
"training.dense_lr" = { low = 1e-4, high = 1e-1, log = true }
"model.mlp" = [[], [8]]
"features.dim" = { low = 4, high = 8 }
"""
)


@pytest.fixture
def config(path: Path) -> Config:
    path.write_text(TUNE)
    return load(path)


@pytest.fixture
def parts(config: Config) -> Parts:
    log = wiring.event_log(config)
    try:
        return read_parts(config, log)
    finally:
        log.close()


@pytest.mark.slow
@pytest.mark.parametrize(("at_once", "fit_killed"), [(1, 3), (2, 4)])
def test_a_killed_search_goes_on_to_the_same_result(
    config: Config, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, fit_killed: int
) -> None:
    fits = FitsHere(config, parts, tmp_path / "trial", at_once)
    whole = Tuning(config, parts, tmp_path / "whole")
    assert whole.run(threading.Event(), fits=fits)
    expected = whole.result()
    assert {model: len(trials) for model, trials in expected.trials.items()} == {"fm": 2, "lr": 2}
    for model, trials in expected.trials.items():
        assert trials[expected.best[model]].figure == min(trial.figure or 0.0 for trial in trials)
        assert whole.best(model) == trials[expected.best[model]].settings
    assert all("model.mlp" not in trial.settings for trial in expected.trials["lr"])  # which it does not have

    begun = []
    run = Fit.run

    def killed(fit: Fit, *arguments: object) -> object:
        begun.append(fit)
        if len(begun) == fit_killed:
            raise KeyboardInterrupt
        return run(fit, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Fit, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        Tuning(config, parts, tmp_path / "killed").run(threading.Event(), fits=fits)
    again = Tuning(config, parts, tmp_path / "killed")
    assert again.ended == fit_killed - 1
    assert again.run(threading.Event(), fits=fits)
    assert again.result().to_json() == expected.to_json()
    assert len(begun) == 5


BY_RAY = """
import psutil, sys, threading
from contextlib import closing
from pathlib import Path
from recsys import wiring
from recsys.config.file import load
from recsys.errors import WorkerError
from recsys.fit.parts import read_parts
from recsys.fit.tuning.ray_fits import ray_fits
from recsys.fit.tuning.tuning import Tuning

path, out = map(Path, sys.argv[1:])
config = load(path)
with closing(wiring.event_log(config)) as log:
    parts = read_parts(config, log)
stop = threading.Event()
with ray_fits(path, None, out, 2) as fits:
    assert Tuning(config, parts, out).run(stop, fits=fits)
    processes = psutil.Process().children(recursive=True)
    open_ = [at for one in processes for at in one.net_connections("tcp") if at.status == psutil.CONN_LISTEN]
    assert open_ and {at.laddr.ip for at in open_} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, open_
    fitting = [one for one in processes if one.cmdline()[:1] == ["ray::TrialProcess"]]
    assert len(fitting) == 2
    fitting[0].kill()
    more = config.model_copy(update={"tune": config.tune.model_copy(update={"trials": 3})})
    try:
        Tuning(more, parts, out).run(stop, fits=fits)
    except WorkerError as error:
        print(error)
"""


@pytest.mark.slow
def test_processes_of_ray_on_loopback_come_to_what_one_does(
    path: Path, config: Config, parts: Parts, tmp_path: Path
) -> None:
    """And a process that is killed ends the command, not the search."""
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", BY_RAY, str(path), str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "a process that was fitting has ended" in done.stdout
    assert [file.name for file in out.iterdir() if JOURNAL not in file.name] == []
    here = Tuning(config, parts, tmp_path / "here")
    assert here.run(threading.Event(), fits=FitsHere(config, parts, tmp_path / "trial", at_once=2))
    found = Tuning(config, parts, out).result()
    assert {model: trials[:2] for model, trials in found.trials.items()} == here.result().trials


def test_without_ray_it_says_what_to_install(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(TUNE.replace("trials = 2", "trials = 2\nworkers = 2"))
    monkeypatch.setattr(tune, "find_spec", lambda _name: None)
    done = CliRunner().invoke(main, ["tune", "-c", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "pip install 'recsys[all,ray]'" in done.output


def test_it_stops_when_asked_and_leaves_no_checkpoints(config: Config, parts: Parts, tmp_path: Path) -> None:
    stop = threading.Event()
    out = tmp_path / "out"
    tuning = Tuning(config, parts, out)
    assert not tuning.run(stop, lambda _model, trial: stop.set() if trial == 0 else None)
    assert tuning.ended == 0
    assert [file.name for file in out.iterdir() if JOURNAL not in file.name] == []


def test_trials_of_other_settings_are_not_mixed(config: Config, parts: Parts, tmp_path: Path) -> None:
    Tuning(config, parts, tmp_path)
    other = config.model_copy(update={"training": config.training.model_copy(update={"sparse_lr": 0.3})})
    with pytest.raises(InvalidValueError, match="trials of other settings"):
        Tuning(other, parts, tmp_path)


def test_trials_of_an_earlier_release_go_on_if_new_settings_have_their_defaults(
    config: Config, parts: Parts, tmp_path: Path
) -> None:
    """The earlier release knew neither an optimizer's L2 nor how long a fit is patient."""
    tuning = Tuning(config, parts, tmp_path)
    study = optuna.load_study(study_name=tuning.models[0], storage=tuning._storage)
    kept = json.loads(study.user_attrs["settings"])
    del kept["training"]["l2"], kept["fit"]["patience"]
    study.set_user_attr("settings", json.dumps(kept))
    patient = config.model_copy(update={"fit": config.fit.model_copy(update={"patience": Config().fit.patience})})
    Tuning(patient, parts, tmp_path)
    study.set_user_attr("settings", json.dumps(kept))
    other = patient.model_copy(update={"training": patient.training.model_copy(update={"l2": 0.1})})
    with pytest.raises(InvalidValueError, match="trials of other settings"):
        Tuning(other, parts, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tune]\nmodels = ["deepfm"]', "unknown model 'deepfm'; choose from autoint"),
        ('[tune]\nmodels = ["fm", "fm"]', "duplicate model 'fm'"),
        ('[tune.settings]\n"training.wait" = ["1m", "2m"]', "cannot be tuned; choose from training.averaging"),
        ('[tune.settings]\n"model.depth" = [1, 2]', "cannot be tuned"),
        ('[tune.settings]\n"training.dense_lr" = { low = 1, high = 1 }', "must be above low = 1"),
        ('[tune.settings]\n"training.dense_lr" = { low = 0, high = 1, log = true }', "must be above 0 with log"),
    ],
)
def test_settings_that_cannot_be_tried_are_refused_where_they_are_written(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(text, Path("recsys.toml"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model.rank": [0, 1]}, r"none of the models \(fm\) has this option"),
        ({"training.batch_size": [0, 64]}, "batch_size"),
        ({"training.optimizer": ["adam", "sgd"]}, "optimizer"),
    ],
)
def test_values_that_the_configuration_refuses_are_found_before_the_first_trial(
    settings: dict[str, object], said: str, tmp_path: Path
) -> None:
    config = Config(model={"name": "fm"}, tune={"settings": settings})
    nothing: Parts = None  # type: ignore[assignment]
    with pytest.raises((InvalidValueError, ConfigError), match=said):
        Tuning(config, nothing, tmp_path)


@pytest.mark.slow
def test_the_command_writes_settings_that_fit_takes(path: Path, tmp_path: Path) -> None:
    path.write_text(TUNE.replace("trials = 2", "trials = 1"))
    done = CliRunner().invoke(main, ["tune", "-c", str(path), "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "fm" in done.output
    assert "lr" in done.output
    for model in ("fm", "lr"):
        assert parse((tmp_path / "out" / f"best-{model}.toml").read_text(), path).model.name == model
    assert ElementTree.parse(tmp_path / "out" / "tune.svg").getroot().tag.endswith("svg")
    assert msgspec.json.decode((tmp_path / "out" / "tune.json").read_bytes())["best"] == {"fm": 0, "lr": 0}
