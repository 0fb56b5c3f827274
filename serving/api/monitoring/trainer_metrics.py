"""What trainers say of themselves as metrics for Prometheus, from a server or from the trainer itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from recsys.errors import InvalidValueError
from serving.api.monitoring.server_state import LatestStatus


def trainer_metrics(trainers: Iterable[tuple[str, LatestStatus, float]]) -> Iterator[Metric]:
    """Figures of statuses, given with their model and age in seconds."""
    age = GaugeMetricFamily(
        "recsys_trainer_status_age_seconds", "Time since the trainer published its status.", labels=["model"]
    )
    progress = GaugeMetricFamily("recsys_trainer", "Progress of the trainer.", labels=["model", "name"])
    tables = GaugeMetricFamily(
        "recsys_trainer_table", "Counters of the trainer's tables.", labels=["model", "table", "counter"]
    )
    worker = GaugeMetricFamily(
        "recsys_trainer_worker", "Progress of each worker of the trainer.", labels=["model", "worker", "name"]
    )
    parts = GaugeMetricFamily(
        "recsys_trainer_worker_table",
        "Counters of each worker's part of the trainer's tables.",
        labels=["model", "worker", "table", "counter"],
    )
    for model, trainer, seconds in trainers:
        age.add_metric([model], seconds)
        for path, value in trainer.figures():
            match path:
                case ("tables", table, *counter) if counter:
                    tables.add_metric([model, table, ".".join(counter)], value)
                case ("workers", number, "tables", table, *counter) if counter:
                    parts.add_metric([model, number, table, ".".join(counter)], value)
                case ("workers", number, *name) if name:
                    worker.add_metric([model, number, ".".join(name)], value)
                case _:
                    progress.add_metric([model, ".".join(path)], value)
    yield from (age, progress, tables, worker, parts)


class TrainerEndpoint:
    """`/metrics` of one trainer at `address` (HOST:PORT), whose latest status with its age `latest` gives.

    Raises InvalidValueError if the address cannot be used.
    """

    def __init__(
        self, address: str, latest: Callable[[], tuple[str, LatestStatus, float] | None], project: str
    ) -> None:
        self._latest = latest
        host, _, port = address.rpartition(":")
        registry = CollectorRegistry(target_info={"project": project})
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(int(port), host, registry)
        except (OSError, OverflowError) as error:
            raise InvalidValueError(
                f"training.metrics = {address!r} cannot be used ({error}): name another port of this machine"
            ) from error

    def collect(self) -> Iterable[Metric]:
        latest = self._latest()
        return list(trainer_metrics([] if latest is None else [latest]))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
