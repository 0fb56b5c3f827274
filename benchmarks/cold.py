"""The first request after a start, beside the median of those that follow: 500 candidates over HTTP, one core.

The server is asked as soon as `/readyz` says that it is ready; none of the rows and features of the request are cached
then. What is served: `benchmarks/_served.py`.
"""

from __future__ import annotations

import http.client

import numpy as np

from benchmarks._served import bodies, first_core, get, published, server, wait_until_ready
from benchmarks.harness import Result, Target, median
from benchmarks.serve import post


def run(quick: bool) -> Result:
    starts, requests = (3, 100) if quick else (15, 400)
    rng = np.random.default_rng(0)
    milliseconds: list[list[float]] = []
    by_model: list[bool] = []
    server_core = first_core()
    with published(rng) as folder:
        for number in range(starts):
            with server(server_core, folder / "redis", folder / f"log {number}") as (_, port):
                connection = http.client.HTTPConnection("127.0.0.1", port)
                wait_until_ready(connection)
                milliseconds.append([1000 * post(connection, body) for body in bodies(rng, requests)])
                by_model.append("recsys_degraded_total{" not in get(connection, "/metrics")[1])
                connection.close()
    ratios = [each[0] / median(each[1:]) for each in milliseconds]
    second = [each[1] / median(each[1:]) for each in milliseconds]
    targets = [
        Target("first request after a start over the median of the others", median(ratios), 2.0, "lower"),
        Target("starts after which the model ranked all requests, share", sum(by_model) / starts, 1.0),
    ]
    return Result("cold", targets, {"ms": milliseconds, "ratios": ratios, "second": second})
