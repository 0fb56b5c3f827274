"""AutoInt on its paper's protocol (MovieLens 1M, tables 2 and 4): parts 80/10/10 at random, best of 50 epochs.

Each model and seed is a `recsys fit` with a folder of its own below build/ranking. AutoInt takes tens of minutes on one
core: stop it at any time, and the next call goes on.
"""

from __future__ import annotations

import shutil
import statistics
import threading
from pathlib import Path
from typing import Any

from benchmarks import _ml1m_autoint
from benchmarks.harness import ROOT, Result, Target
from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.fit.evaluate import evaluate
from recsys.fit.fit import Fit, fit_folder
from recsys.fit.parts import read_parts
from recsys.fit.result import Evaluation, Figures

FOLDER = ROOT / "build" / "ranking"
SEEDS = (0, 1, 2)
SETTINGS = """
[log]
url = "file:log"
[features]
dim = 16
{fields}
[model]
{model}
[training]
positive = ["like"]
labels = "held"
wait = "1s"
lateness = "0s"
batch_size = 1024
optimizer = "adam"
dense_lr = 0.001
sparse_lr = 0.001
averaging = 0.0
seed = {seed}
checkpoints = "{name}-{seed}"
[fit]
split = "random"
epochs = {epochs}
patience = 4
"""
AUTOINT = 'name = "autoint"\nlayers = 3\nheads = 2\nunits = 64\nmlp = []\ndropout = 0.4\nembedding_dropout = 0.1'
MODELS = {
    "fm": 'name = "fm"\nmlp = []',
    "autoint": AUTOINT,
    "autoint_without_residual": f"{AUTOINT}\nresidual = false",
}
PUBLISHED = {"autoint": (0.8456, 0.3797), "autoint_without_residual": (0.8299, 0.3959), "fm": (0.8252, 0.3998)}
"""AUC and log loss: tables 2 and 4, means of ten runs."""


def run(quick: bool) -> Result:
    """`quick` is one epoch over the first 30,000 ratings."""
    folder = FOLDER / ("quick" if quick else "full")
    rounds: list[dict[str, Any]] = []
    for name in ["fm"] if quick else MODELS:
        for seed in SEEDS[:1] if quick else SEEDS:
            figures = _fitted(folder, name, seed, quick=quick)
            print(f"{name}, seed {seed}: AUC {figures['auc']:.4f}, log loss {figures['log_loss']:.4f}", flush=True)
            rounds.append({"model": name, "seed": seed} | figures)
    return Result("ranking", [target for name in MODELS for target in _targets(name, rounds)], {"rounds": rounds})


def _targets(name: str, rounds: list[dict[str, Any]]) -> list[Target]:
    own = [one for one in rounds if one["model"] == name]
    if not own:
        return []
    auc, loss = (statistics.mean(one[metric] for one in own) for metric in ("auc", "log_loss"))
    published_auc, published_loss = PUBLISHED[name]
    what = f"ML-1M, {name.replace('_', ' ')}, {len(own)} seeds"
    return [
        Target(f"{what}: AUC", auc, published_auc),
        Target(f"{what}: log loss", loss, published_loss, better="lower"),
    ]


def _fitted(folder: Path, name: str, seed: int, *, quick: bool) -> Figures:
    """Of the test part, after a fit that goes on from where it was stopped."""
    done = folder / f"{name}-{seed}.json"
    if not done.exists():
        epochs = 1 if quick else 50
        settings = SETTINGS.format(fields=_ml1m_autoint.FIELDS, model=MODELS[name], name=name, seed=seed, epochs=epochs)
        folder.mkdir(parents=True, exist_ok=True)
        done.write_bytes(_fit(parse(settings, folder / "recsys.toml"), quick=quick).to_json())
    return Evaluation.from_json(done.read_bytes()).tasks["click"]


def _fit(config: Config, *, quick: bool) -> Evaluation:
    wiring.set_threads(config)
    _ingest(config, 30_000 if quick else None)
    log = wiring.event_log(config)
    try:
        fit = Fit(config, wiring.learner(config), read_parts(config, log), fit_folder(config))
        fit.resume()
        fit.run(threading.Event())
        return evaluate(config, log)
    finally:
        log.close()


def _ingest(config: Config, rows: int | None) -> None:
    """Write the log, unless it is complete."""
    folder = config.training.checkpoints.parent
    complete = folder / "ingested"
    if complete.exists():
        return
    shutil.rmtree(folder / "log", ignore_errors=True)
    log = wiring.event_log(config)
    for batch in _ml1m_autoint.events(rows).to_batches(max_chunksize=16_384):
        log.append(batch)
    log.close()
    complete.touch()
