"""The dashboard and the alert rules of `deploy/` ask only for metrics and label values that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from serving.api.gate.access import Access
from serving.api.gate.open_connections import ConnectionLimits, OpenConnections
from serving.api.gate.ranking_queue import RankingQueue
from serving.api.monitoring.prometheus import Metrics
from serving.api.monitoring.server_state import ServerState
from serving.api_key import new_key
from serving.model.measured_precision import MeasuredPrecision
from serving.ranking.trace import Trace
from serving.replication.trainer_status import TrainerStatus
from tests.recsys.training.group.test_worker_figures import figures
from tests.recsys.training.publishing.test_publication import reported
from tests.serving.api.asking import Start

ROOT = Path(__file__).parents[4]
BOARD = json.loads((ROOT / "deploy" / "grafana" / "recsys.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
Series = list[tuple[str, dict[str, str]]]

_ASKED = re.compile(r"\b(recsys_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r'(\w+)(=~?)"([^"]*)"')


class Rows:
    hits = misses = 1

    def __len__(self) -> int:
        return 1


@pytest.fixture(scope="module")
def series() -> Series:
    """Names and labels of all series of a server that has a model and a trainer, and has answered."""
    model = SimpleNamespace(
        name="online",
        rows=Rows(),
        loaded=0.0,
        artefact=SimpleNamespace(step=1),
        engine="openvino",
        precision=MeasuredPrecision("bfloat16", 0.01),
    )
    trainer = TrainerStatus(0, reported() | {"workers": figures()})
    state = ServerState(
        models=cast(Any, SimpleNamespace(refused=0, loaded={"online": model}, get=lambda _name: model)),
        events=cast(Any, SimpleNamespace(waiting=0)),
        queue=RankingQueue(cast(Any, None), 0.2),
        access=Access([], lambda: 0.0),
        connections=OpenConnections(ConnectionLimits()),
        redis_available=lambda: True,
        trainers=lambda: {"online": trainer},
        shadow={"scored": 1},
        clock=lambda: 0.0,
        now=lambda: 0,
    )
    metrics = Metrics(state, "recsys")
    for status in (200, 503):
        metrics.request("/v1/rank", status, 0.001)
    metrics.events.labels("accepted").inc()
    trace = Trace(0.0, lambda: 0.0)
    trace.degraded.append("rows")
    metrics.trace(trace)
    return [(sample.name, sample.labels) for metric in metrics.registry.collect() for sample in metric.samples]


QUERIES = [
    *((panel["title"], target["expr"]) for panel in BOARD["panels"] for target in panel["targets"]),
    *((rule["alert"], rule["expr"]) for rule in ALERTS),
]
"""Name and expression of every panel and alert."""


def matches(labels: dict[str, str], conditions: str) -> bool:
    for name, operator, value in _LABEL.findall(conditions):
        pattern = value if operator == "=~" else re.escape(value)
        if not re.fullmatch(pattern, labels.get(name, "")):
            return False
    return True


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_what_is_asked_for_exists(name: str, query: str, series: Series) -> None:
    asked = _ASKED.findall(query)
    assert asked
    for metric, conditions in asked:
        assert any(metric == found and matches(labels, conditions) for found, labels in series), (metric, conditions)


def test_a_metric_that_does_not_exist_is_seen(series: Series) -> None:
    ((metric, conditions),) = _ASKED.findall('rate(recsys_trainer{name="lag_event"}[1m])')
    assert not any(metric == found and matches(labels, conditions) for found, labels in series)


def test_the_guide_says_what_to_do_at_each_alert() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert [rule["alert"] for rule in ALERTS if f"`{rule['alert']}`" not in guide] == []


def test_prometheus_scrapes_with_the_key_that_the_page_says(start: Start) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    (job,) = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])["scrape_configs"]
    key, configured = new_key("prometheus", ["admin"])
    app = start(api_keys=[configured])
    assert app.get("/metrics").status_code == 401
    assert job["authorization"].keys() == {"credentials_file"}, "Prometheus then sends the type Bearer"
    scraped = app.get(job.get("metrics_path", "/metrics"), headers={"Authorization": f"Bearer {key}"})
    assert scraped.status_code == 200
    assert "recsys_connections" in scraped.text
