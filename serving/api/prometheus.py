"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from serving.event_writer import EventWriter
from serving.model.loaded_model import LoadedModel
from serving.ranking.ranker import Trace
from serving.replication.health import Availability
from serving.replication.model_loader import Models

_BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(
        self,
        models: Models,
        impressions: EventWriter,
        availability: Availability,
        clock: Callable[[], float],
    ) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "recsys_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "recsys_request_seconds", "Time to answer, by route.", ["route"], buckets=_BUCKETS, registry=self.registry
        )
        self._stages = Histogram(
            "recsys_stage_seconds", "Time of a stage of ranking.", ["stage"], buckets=_BUCKETS, registry=self.registry
        )
        self._degraded = Counter(
            "recsys_degraded", "Answers that were not the model's, by reason.", ["reason"], registry=self.registry
        )
        self.events = Counter("recsys_events", "Events posted, by outcome.", ["status"], registry=self.registry)
        self.registry.register(_State(models, impressions, availability, clock))

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def trace(self, trace: Trace) -> None:
        """Stages and reasons of one ranking."""
        for stage, seconds in trace.seconds.items():
            self._stages.labels(stage).observe(seconds)
        for reason in trace.degraded:
            self._degraded.labels(reason).inc()

    def render(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)


class _State:
    """Reads what other parts know at the time of asking."""

    def __init__(
        self,
        models: Models,
        impressions: EventWriter,
        availability: Availability,
        clock: Callable[[], float],
    ) -> None:
        self._models = models
        self._impressions = impressions
        self._availability = availability
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        rows = CounterMetricFamily(
            "recsys_cache_rows", "Row look-ups, by model and result.", labels=["model", "result"]
        )
        size = GaugeMetricFamily("recsys_cache_size", "Rows in the cache.", labels=["model"])
        age = GaugeMetricFamily("recsys_model_age_seconds", "Time since the graph was loaded.", labels=["model"])
        step = GaugeMetricFamily("recsys_model_step", "Training step of the graph.", labels=["model"])
        for name, model in self._served():
            rows.add_metric([name, "hit"], model.rows.hits)
            rows.add_metric([name, "miss"], model.rows.misses)
            size.add_metric([name], len(model.rows))
            age.add_metric([name], self._clock() - model.loaded)
            step.add_metric([name], model.artefact.step)
        refused = GaugeMetricFamily("recsys_models_refused", "Models whose newest artefact was refused.")
        refused.add_metric([], sum(bool(loader.refused) for loader in self._models.loaders.values()))
        available = GaugeMetricFamily("recsys_redis_available", "1 while Redis answers.")
        available.add_metric([], float(self._availability.up))
        waiting = GaugeMetricFamily("recsys_log_waiting", "Requests whose events are not stored yet.")
        waiting.add_metric([], self._impressions.waiting)
        return [rows, size, age, step, refused, available, waiting]

    def _served(self) -> list[tuple[str, LoadedModel]]:
        return [(name, loader.current) for name, loader in self._models.loaders.items() if loader.current is not None]
