"""The steps of docs/extending.md, followed literally."""

from __future__ import annotations

import doctest
import json
import re
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pydantic import ValidationError

import serving.settings
from recsys import models, wiring
from recsys.cli import main
from recsys.config.file import parse
from recsys.config.sections.learning import models as config_models
from recsys.config.sections.section import reader, section_of
from recsys.evaluation import metrics
from recsys.evaluation.replay.arms import frozen
from recsys.evaluation.replay.report.replay_report import html, markdown
from recsys.training.export import exporter
from serving import assembly, ranking_parts
from serving.model.scorer import load_scorer
from serving.process_settings import Settings
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.publish.publisher import Publisher
from streaming.encode.feature_spec import FeatureSpec
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.log import open_log
from streaming.log.memory_log import MemoryLog
from tests.contracts.event_log import read_all
from tests.recsys.evaluation.replay.test_figures import rows_of
from tests.recsys.evaluation.replay.test_report import result_of
from tests.serving.fakes import Graphs
from tests.serving.running import running
from tests.serving.waiting import until

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[1] / "docs" / "extending.md"


def steps(section: str, language: str = "python") -> list[str]:
    """The code blocks of a section of the guide."""
    text = GUIDE.read_text("utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    return [textwrap.dedent(code) for code in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def write_module(name: str, code: str) -> ModuleType:
    """The module as if the block were its file."""
    module = ModuleType(name)
    exec(compile(code, GUIDE, "exec"), vars(module))
    return module


def run_in(module: ModuleType, code: str) -> None:
    """Run the block as if it were written at the end of the module."""
    exec(compile("from __future__ import annotations\n" + code, GUIDE, "exec"), vars(module))


def test_add_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It learns from a log, and the exported graph scores as the trained model does."""
    section, model, register = steps("Add a model")
    (setting,) = steps("Add a model", "toml")
    known = dict(config_models.SECTIONS)
    try:
        exec(compile(section, config_models.__file__, "exec"), vars(config_models))
        written = write_module("recsys.models.widedeep", model)
        names = dict(vars(models)) | {"WideAndDeep": written.WideAndDeep}
        exec(register, names)
        for module in (models, exporter):
            monkeypatch.setattr(module, "MODELS", names["MODELS"])
        config = parse(setting + "[training]\nbatch_size = 16\nwait = '1s'\n", tmp_path / "recsys.toml")
        log = MemoryLog()
        log.append(encode_events(events(60)))
        learner, feed = wiring.learner(config), wiring.feed(config, log)
        batches = [*feed.poll(), *feed.finish()]
        assert len(batches) > 5
        before = learner.score(batches[0]).copy()
        for batch in batches:
            learner.step(batch)
        trained = learner.model
        assert isinstance(trained, written.WideAndDeep)
        assert np.abs(learner.score(batches[0]) - before).max() > 1e-3
        _scores_alike(trained, wiring.spec(config))
    finally:
        config_models.SECTIONS.clear()
        config_models.SECTIONS.update(known)
        vars(config_models).pop("WideAndDeepConfig", None)


def events(lists: int) -> list[Event]:
    """Lists of two items, of which the first is clicked."""
    shown = [Impression(id=f"l{n}", time=n * 1000, user=f"u{n % 5}", items=["a", "b"]) for n in range(lists)]
    clicks = [Interaction(time=one.time + 10, impression=one.id, item="a") for one in shown]
    return [event for pair in zip(shown, clicks, strict=True) for event in pair]


def _scores_alike(model: models.RankingModel, spec: FeatureSpec) -> None:
    with ThreadPoolExecutor(1) as executor:
        scorer = load_scorer(exporter.Exporter(model, spec, executor=executor).graph(model))
    of_item = [field.of_item for field in spec.sparse]
    rng = np.random.default_rng(0)
    request_1FD = rng.normal(size=(1, of_item.count(False), model.dim)).astype(np.float32)
    item_CFD = rng.normal(size=(5, of_item.count(True), model.dim)).astype(np.float32)
    none_1, none_C = np.zeros((1, 0), np.float32), np.zeros((5, 0), np.float32)
    served_C = scorer.score(request_1FD, item_CFD, none_1, none_C)
    with torch.inference_mode():
        rows = map(torch.from_numpy, (request_1FD, item_CFD, none_1, none_C))
        trained_C = torch.sigmoid(model.eval().forward_split(*rows)).numpy()
    np.testing.assert_allclose(served_C, trained_C, atol=1e-4)


def test_add_a_metric() -> None:
    before = dict(metrics.METRICS)
    try:
        names = dict(vars(metrics))
        write, register = steps("Add a metric")
        exec(compile("from __future__ import annotations\n" + write, "metrics.py", "exec"), names)
        exec(register, names)
        (example,) = doctest.DocTestFinder(recurse=False).find(names["brier"], "brier", module=False, globs=names)
        assert doctest.DocTestRunner().run(example) == (0, 1)

        rows = rows_of(np.random.default_rng(0).integers(0, 2, 600).tolist())
        result = result_of(rows, [frozen(0)])
        value = json.loads(result.to_json())["arms"][0]["all"]["brier"]
        assert 0 < value < 1
        assert all("brier" in figures for figures in result.arms[0].slices.values())
        assert "Brier score" in markdown(result)
        assert f"{value:.4f}" in markdown(result)
        assert html(result).count("<th>Brier score</th>") == 1
        assert f"<td>{result.arms[0].slices['new user']['brier']:.4f}</td>" in html(result)
        assert f"{value:.4f}" in html(result)
    finally:
        metrics.METRICS.clear()
        metrics.METRICS.update(before)


SQLITE_LOG = write_module("streaming.log.sqlite_log", steps("Add a log")[0])


def contract_suite() -> Any:
    """The test class of the guide."""
    module = ModuleType("test_sqlite_log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, SQLITE_LOG.__name__, SQLITE_LOG)
        run_in(module, steps("Add a log")[2])
    return vars(module)["TestSqliteLog"]


TestSqliteLog = contract_suite()


@pytest.fixture
def sqlite_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, SQLITE_LOG.__name__, SQLITE_LOG)
    monkeypatch.setattr(open_log, "LOGS", dict(open_log.LOGS))
    monkeypatch.setattr(open_log, "_sqlite_log", None, raising=False)
    run_in(open_log, steps("Add a log")[1])


@pytest.mark.usefixtures("sqlite_scheme")
def test_add_a_log(tmp_path: Path) -> None:
    (settings,) = steps("Add a log", "toml")
    config = tmp_path / "recsys.toml"
    config.write_text(settings + "[features]\ndim = 4\n[model]\nname = 'fm'\n[training]\nbatch_size = 4\nwait = '1s'\n")
    lines = [
        line
        for i in range(40)
        for line in (
            {"type": "impression", "id": f"r{i}", "time": 120_000 * i, "user": "u", "items": ["a", "b"]},
            {"type": "interaction", "time": 120_000 * i + 10, "impression": f"r{i}", "item": "a"},
        )
    ]
    events = tmp_path / "events.jsonl"
    events.write_text("\n".join(map(json.dumps, lines)))

    assert "80 accepted" in recsys("ingest", "-c", str(config), str(events))
    assert "0 accepted" in recsys("ingest", "-c", str(config), str(events))
    log = open_log.open_log(f"sqlite:{tmp_path / 'run' / 'log.sqlite'}")
    assert len(read_all(log)) == 80
    log.close()
    assert "item" in recsys("train", "-c", str(config), "--once", "--no-publish")
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))


def recsys(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture
def picked_source(monkeypatch: pytest.MonkeyPatch) -> None:
    write, use = steps("Add a retrieval source")
    picked = write_module("serving.retrieval.picked", write)
    monkeypatch.setitem(sys.modules, picked.__name__, picked)
    monkeypatch.setattr(ranking_parts, "candidates", ranking_parts.candidates)
    monkeypatch.setattr(ranking_parts, "PickedRetriever", None, raising=False)
    run_in(ranking_parts, use)
    monkeypatch.setattr(assembly, "candidates", ranking_parts.candidates)


@pytest.mark.usefixtures("picked_source")
def test_add_a_retrieval_source(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as embedded, embedded.client() as client:
        Publisher(client, "online").publish_catalog([("coffee", 3.0), ("tea", 2.0)], [("cocoa", 1)])
        settings = Settings(redis_folder=tmp_path, deadline=60_000)
        with running(assembly.build(settings, open_log.open_log(f"file:{tmp_path / 'log'}"), Graphs())) as http:

            def sources() -> dict[str, str]:
                answer = http.post("/v1/recommend", json={"user": "ada", "exclude": ["cocoa"]}).json()
                return {item["item"]: item["source"] for item in answer["items"]}

            until(lambda: len(sources()) == 2)
            assert sources() == {"tea": "picked", "coffee": "popular"}


def test_add_a_setting_of_the_server() -> None:
    (declaration,) = steps("Add a setting of the server")
    source = Path(serving.settings.__file__).read_text("utf-8")
    declared = textwrap.indent(declaration, "    ")
    added = write_module(
        "serving.settings", source.replace("    def __post_init__", f"{declared}\n    def __post_init__")
    )
    read = reader(added.ServingSettings, section_of(added.ServingSettings))
    assert (read({}).feature_age, read({"feature_age": "30s"}).feature_age) == (60_000, 30_000)
    with pytest.raises(ValidationError, match="greater than 0"):
        read({"feature_age": "0s"})


def test_a_setting_of_the_server_is_named_where_it_is_declared_and_where_it_is_used() -> None:
    root = GUIDE.parents[1]
    files = [path for room in ("recsys", "serving") for path in (root / room).rglob("*.py")]
    named = {str(path.relative_to(root)) for path in files if "max_attributed" in path.read_text("utf-8")}
    assert named == {"serving/settings.py", "serving/assembly.py"}
