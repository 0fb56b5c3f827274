"""Metrics for Prometheus at `/metrics`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from serving.api.monitoring.server_state import ServerState
from serving.api.monitoring.trainer_metrics import trainer_metrics
from serving.experiments.assignment import CHAMPION
from serving.ranking.trace import Preranking, Trace

_BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    """Counters of one server, in a registry of its own, with the project as `target_info`."""

    def __init__(self, state: ServerState, project: str) -> None:
        self.registry = CollectorRegistry(target_info={"project": project})
        self._requests = Counter(
            "recsys_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "recsys_request_seconds", "Time to answer, by route.", ["route"], buckets=_BUCKETS, registry=self.registry
        )
        self._stages = Histogram(
            "recsys_stage_seconds", "Time of a stage of ranking.", ["stage"], buckets=_BUCKETS, registry=self.registry
        )
        self._degraded = Counter("recsys_degraded", "Degraded answers, by reason.", ["reason"], registry=self.registry)
        self._variety = Summary(
            "recsys_list_variety", "Kinds of items (Vendi score) in a list that was shown.", registry=self.registry
        )
        self._preranked = Counter(
            "recsys_preranked",
            "Requests with more candidates than `prerank`.",
            ["result"],
            registry=self.registry,
        )
        self._survived = Summary(
            "recsys_prerank_survived",
            "Share of the model's first items that a cheap score would keep, of checked requests.",
            ["by"],
            registry=self.registry,
        )
        self.events = Counter("recsys_events", "Events posted, by outcome.", ["status"], registry=self.registry)
        self.registry.register(_StateCollector(state))

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def trace(self, trace: Trace) -> None:
        """Stages and reasons of one ranking."""
        for stage, seconds in trace.seconds.items():
            self._stages.labels(stage).observe(seconds)
        if trace.variety is not None:
            self._variety.observe(trace.variety)
        if trace.preranking is not None:
            self._prerank(trace.preranking)
        for reason in trace.degraded:
            self._degraded.labels(reason).inc()

    def _prerank(self, found: Preranking) -> None:
        self._preranked.labels(found.result).inc()
        for by, survived in found.survived.items():
            self._survived.labels(by).observe(survived)

    def degraded(self) -> dict[str, float]:
        """By reason, how often it was given so far."""
        return _totals(self._degraded, "reason")

    def answers(self, *routes: str) -> float:
        """How many requests of these routes have been answered, with any status."""
        return sum(number for route, number in _totals(self._requests, "route").items() if route in routes)

    def render(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)


class _StateCollector:
    """Reads the state of the other parts when asked."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        return [*self._server(), *self._models(), *trainer_metrics(self._state.aged_trainers())]

    def _server(self) -> Iterator[Metric]:
        yield _gauge("recsys_models_refused", "Models whose newest artefact was refused.", self._state.models.refused)
        yield _gauge("recsys_redis_available", "1 while Redis answers.", self._state.redis_available())
        yield _gauge("recsys_log_waiting", "Requests whose events are not stored yet.", self._state.events.waiting)
        yield _gauge(
            "recsys_queue_requests", "Requests that wait for the ranker, or are ranked.", len(self._state.queue)
        )
        yield _gauge("recsys_queue_seconds", "How long that is expected to take.", self._state.queue.ahead)
        yield _gauge("recsys_connections", "Open connections of clients.", len(self._state.connections))
        refused = CounterMetricFamily("recsys_refused", "Requests refused unranked, by reason.", labels=["reason"])
        counted = {"overload": self._state.queue.refused}
        for reason, count in (counted | self._state.access.refused | self._state.connections.refused).items():
            refused.add_metric([reason], count)
        yield refused
        shadow = CounterMetricFamily("recsys_shadow", "Lists for the shadow, by what came of them.", labels=["result"])
        for result, count in self._state.shadow.items():
            shadow.add_metric([result], count)
        yield shadow

    def _models(self) -> Iterator[Metric]:
        rows = CounterMetricFamily(
            "recsys_cache_rows", "Row look-ups, by model and result.", labels=["model", "result"]
        )
        size = GaugeMetricFamily("recsys_cache_size", "Rows in the cache.", labels=["model"])
        age = GaugeMetricFamily("recsys_model_age_seconds", "Time since the graph was loaded.", labels=["model"])
        step = GaugeMetricFamily("recsys_model_step", "Training step of the graph.", labels=["model"])
        champion = GaugeMetricFamily("recsys_champion", "1 for the model that `champion` stands for.", labels=["model"])
        engine = GaugeMetricFamily(
            "recsys_model_engine", "1 for what computes the model's scores.", labels=["model", "engine"]
        )
        precision = GaugeMetricFamily(
            "recsys_model_precision",
            "1 for what the model scores in, where `precision` is not float32.",
            labels=["model", "precision"],
        )
        error = GaugeMetricFamily(
            "recsys_model_precision_error",
            "Largest difference of the log odds of bfloat16 or mixed from those of float32, of the latest requests.",
            labels=["model"],
        )
        promoted = self._state.models.get(CHAMPION)
        if promoted is not None:
            champion.add_metric([promoted.name], 1)
        for name, model in self._state.models.loaded.items():
            rows.add_metric([name, "hit"], model.rows.hits)
            rows.add_metric([name, "miss"], model.rows.misses)
            size.add_metric([name], len(model.rows))
            age.add_metric([name], self._state.clock() - model.loaded)
            step.add_metric([name], model.artefact.step)
            engine.add_metric([name, model.engine], 1)
            if model.precision is not None:
                precision.add_metric([name, model.precision.used], 1)
                if model.precision.error is not None:
                    error.add_metric([name], model.precision.error)
        yield from (champion, rows, size, age, step, engine, precision, error)


def _totals(counter: Counter, label: str) -> dict[str, float]:
    """By the values of a label, over all others."""
    found: dict[str, float] = defaultdict(float)
    for sample in (sample for family in counter.collect() for sample in family.samples):
        if sample.name.endswith("_total"):
            found[sample.labels[label]] += sample.value
    return dict(found)


def _gauge(name: str, description: str, value: float) -> Metric:
    gauge = GaugeMetricFamily(name, description)
    gauge.add_metric([], value)
    return gauge
