"""A search for settings by the tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), as Optuna has it.

Every model gets the same number of trials, each a fit of its own with the same parts, epochs and seed. What is tried
next depends on the seed, the number of the trial and the results of the rounds before it alone (a round is what is
fitted at once), so that a search that was killed goes on from its journal to the same result.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.evaluation.result_settings import goes_on, settings_of
from recsys.fit.parts import Parts
from recsys.fit.tuning.space import check, suggest, tried_with
from recsys.fit.tuning.trial_fit import Begun, Fits, FitsHere
from recsys.fit.tuning.tune_result import TrialResult, TuneResult

JOURNAL = "trials.journal"
_RESULT, _SETTINGS = "result", "settings"
_WORST = {"log_loss": float("inf"), "auc": float("-inf")}


class Tuning:
    """The search whose journal is in `folder`. Raises InvalidValueError if that is of another search."""

    def __init__(self, config: Config, parts: Parts, folder: Path) -> None:
        self.models = config.tune.models or [config.model.name]
        check(config, self.models)
        self._config, self._parts, self._folder = config, parts, folder
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self._storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        self._studies = {model: self._study(model) for model in self.models}

    @property
    def trials(self) -> int:
        """Of all models together, those that have ended included."""
        return self._config.tune.trials * len(self.models)

    @property
    def ended(self) -> int:
        return sum(len(_ended(study)) for study in self._studies.values())

    def run(
        self,
        stop: threading.Event,
        report: Callable[[str, int], None] = lambda _model, _trial: None,
        fits: Fits | None = None,
    ) -> bool:
        """Run the trials that are left; False if `stop` was set before the last ended. Models take turns.

        `report` is called with the model and the number of each trial that begins. The trials that `fits` has at once
        are a round, all begun before one of them is fitted.
        """
        fits = fits or FitsHere(self._config, self._parts, self._folder / "trial")
        while left := self._round(fits.at_once):
            begun = [self._begun(*one) for one in left]
            for one in begun:
                report(one.model, one.number)
            ended = 0
            for one, result in fits.results(begun, stop):
                self._tell(one, result)
                ended += 1
            if ended < len(begun):
                return False
        return True

    def result(self) -> TuneResult:
        """Of the trials that have ended; each model has one."""
        trials = {
            model: [msgspec.convert(trial.user_attrs[_RESULT], TrialResult) for trial in _ended(study)]
            for model, study in self._studies.items()
        }
        metric = self._config.fit.metric
        best = {model: _best(of_model, metric) for model, of_model in trials.items()}
        return TuneResult(metric=metric, rows=self._parts.rows, trials=trials, best=best, config=self._settings())

    def best(self, model: str) -> dict[str, Any]:
        """The settings of the best trial."""
        result = self.result()
        return result.trials[model][result.best[model]].settings

    def _study(self, model: str) -> optuna.Study:
        direction = StudyDirection.MAXIMIZE if self._config.fit.metric == "auc" else StudyDirection.MINIMIZE
        study = optuna.create_study(storage=self._storage, study_name=model, direction=direction, load_if_exists=True)
        settings = self._settings()
        kept = study.user_attrs.get(_SETTINGS)
        if kept is not None and not goes_on(json.loads(kept), settings, self._settings(stated=True)):
            raise InvalidValueError(
                f"{self._folder / JOURNAL} has trials of other settings, or of a log that has grown: name another "
                "folder with --out, or keep later events out with --until"
            )
        study.set_user_attr(_SETTINGS, json.dumps(settings, sort_keys=True))
        return study

    def _settings(self, *, stated: bool = False) -> dict[str, Any]:
        """What trials can be compared under; the number of trials may grow."""
        tune = self._config.tune.model_dump(
            mode="json", exclude={"trials", "models", "workers"}, exclude_defaults=stated
        )
        return settings_of(self._config, "fit", stated=stated) | {"tune": tune, "parts": self._parts.rows}

    def _round(self, size: int) -> list[tuple[str, int]]:
        """The trials without a result, by model and number, of the first round of `size` that has any."""
        order = [(model, number) for number in range(self._config.tune.trials) for model in self.models]
        known = {(model, trial.number) for model, study in self._studies.items() for trial in _ended(study)}
        rounds = (order[start : start + size] for start in range(0, len(order), size))
        return next((left for one in rounds if (left := [trial for trial in one if trial not in known])), [])

    def _begun(self, model: str, number: int) -> Begun:
        """The trial, new or begun before the search was interrupted."""
        study = self._studies[model]
        study.sampler = TPESampler(seed=(self._config.training.seed + number) % 2**32)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        left = [optuna.Trial(study, trial._trial_id) for trial in running if trial.number == number]
        trial = left[0] if left else study.ask()
        return Begun(model, number, suggest(trial, self._config, tried_with(self._config, model)))

    def _tell(self, begun: Begun, result: TrialResult) -> None:
        study = self._studies[begun.model]
        trial = study.get_trials(deepcopy=False)[begun.number]
        self._storage.set_trial_user_attr(trial._trial_id, _RESULT, msgspec.to_builtins(result))
        worst = _WORST[self._config.fit.metric]
        study.tell(begun.number, worst if result.figure is None else result.figure)


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _best(trials: list[TrialResult], metric: str) -> int:
    """The number of the first of the best trials."""
    sign = -1.0 if metric == "auc" else 1.0
    figures = [float("inf") if trial.figure is None else sign * trial.figure for trial in trials]
    return figures.index(min(figures))
