"""`recsys serve --ray`: Ray Serve starts replicas of the server, on one machine or many, and leads requests to them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys import wiring
from recsys.commands.stopping import stopping
from recsys.config.file import load
from recsys.errors import InvalidValueError, WorkerError
from recsys.workers.ray_job import ray_running

if TYPE_CHECKING:
    from ray.serve import Application
    from starlette.types import ASGIApp

    from serving.process_settings import Settings

LOCAL = "local"
"""This machine alone, in place of a cluster's address."""
_ONGOING = 1000
"""Requests that Ray leads to a replica at once: whoever would wait too long there is refused by the replica itself."""
_ENVIRONMENT = {
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # a proxy that starts slowly is not started again and again
    "RAY_SERVE_LOG_TO_STDERR": "0",
}


def serve_by_ray(path: Path, settings: Settings, address: str, replicas: int, ready: Callable[[], None]) -> None:
    """Serve with so many replicas, on the cluster at `address`, until SIGINT or SIGTERM.

    `ready` is called when all have loaded what is published. Raises InvalidValueError when the replicas would have a
    Redis each or the port is 0, WorkerError when Ray does not start them.
    """
    if address != LOCAL and not settings.redis_url:
        raise InvalidValueError("replicas on several machines need one Redis: set [redis] url")
    if not settings.port:
        raise InvalidValueError("with --ray the port must be set: Ray does not say which one it took for 0")
    with ray_running(replicas, "" if address == LOCAL else address, **_ENVIRONMENT), stopping() as stop:
        from ray import serve  # not before Ray knows whether it stays on loopback

        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        try:
            serve.start(http_options=_proxy(settings))
            serve.run(_application(path.resolve(), replicas), name="recsys")
            ready()
            stop.wait()
        except (RuntimeError, TimeoutError) as error:
            raise WorkerError(f"Ray Serve has not started the replicas: {error}") from error
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]


def _proxy(settings: Settings) -> dict[str, Any]:
    """Where Ray listens for clients."""
    return {
        "host": settings.host,
        "port": settings.port,
        "ssl_certfile": str(settings.certificate) if settings.certificate else None,
        "ssl_keyfile": str(settings.private_key) if settings.private_key else None,
    }


def _application(path: Path, replicas: int) -> Application:
    from ray import serve

    def built() -> ASGIApp:
        return _replica(path, replicas)

    deployment = serve.deployment(name="server", num_replicas=replicas, max_ongoing_requests=_ONGOING)
    return deployment(serve.ingress(built)()).bind()


def _replica(path: Path, replicas: int) -> ASGIApp:
    """In a process of Ray's. Its log is open as long as that."""
    from serving.assembly import build

    _stay_on_loopback()
    config = load(path)
    settings = wiring.server(config).shared(replicas)
    return build(settings, wiring.event_log(config), wiring.open_scorer(config), loaded=True)


def _stay_on_loopback() -> None:
    """A replica's port for calls from other deployments, of which there are none here, takes pickles from whoever
    connects, and Ray has no setting for the address (https://github.com/ray-project/ray/issues/64544).
    """
    from grpc.aio._server import Server  # type: ignore[import-untyped]  # what grpc.aio.server() makes

    add = Server.add_insecure_port
    Server.add_insecure_port = lambda server, address: add(server, address.replace("[::]", "127.0.0.1"))
