"""The whole online step against the dense network alone.

Ours: joiner, encoder, feed, embedding store, AutoInt and publication to a real Redis, following a log. Peer: the same
AutoInt with Adam, fed with tensors that are ready. They take turns within one run, some steps each. The data has the
shape of click-through logs: 39 fields (26 categorical, 13 numeric), batch 1024, ids drawn from a Zipf law. What
checkpoints cost is measured by `recovery`.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.harness import Result, Target, median, ratio
from recsys import wiring
from recsys.config.schema import Config
from streaming.events.schema import Event, Impression, Interaction, Value
from streaming.ingest.codec import encode_events

BATCH = 1024
ITEMS = 8
TURN = 4
"""Steps of one side per turn."""
CONFIG: dict[str, dict[str, Any]] = {
    "features": {
        "fields": [
            {"name": "user", "source": "user"},
            {"name": "item", "source": "item"},
            *({"name": f"r{n}", "source": f"request.r{n}"} for n in range(11)),
            *({"name": f"i{n}", "source": f"item.i{n}"} for n in range(13)),
            *({"name": f"rn{n}", "kind": "numeric", "source": f"request.rn{n}"} for n in range(7)),
            *({"name": f"in{n}", "kind": "numeric", "source": f"item.in{n}"} for n in range(6)),
        ]
    },
    "model": {"layers": 3, "heads": 2, "units": 64, "mlp": []},
    "training": {"batch_size": BATCH, "checkpoint_every": 1_000_000, "wait": "10s", "lateness": "1s"},
    "redis": {"publish_every": "250ms"},
}


def config_in(folder: Path, training: Mapping[str, Any] | None = None) -> Config:
    """The configuration of this benchmark, with further settings of `[training]`."""
    settings = CONFIG | {"training": CONFIG["training"] | dict(training or {})}
    return Config.model_validate(settings).rooted(folder)


def run(quick: bool) -> Result:
    turns = 6 if quick else 20
    with tempfile.TemporaryDirectory() as folder:
        config = config_in(Path(folder))
        fill(config, impressions=(turns + 1) * TURN * BATCH // ITEMS + 500)
        ours, peer = _measure(config, turns)
    value = ratio(peer, ours)
    raw = {"ours_s_per_turn": ours, "dense_s_per_turn": peer, "steps_per_turn": TURN, "batch": BATCH, "fields": 39}
    raw |= {"ours_rows_per_s": TURN * BATCH / median(ours), "dense_rows_per_s": TURN * BATCH / median(peer)}
    return Result("loop", [Target("online step's rate over the dense network's alone", value, 0.9)], raw)


def _measure(config: Config, turns: int) -> tuple[list[float], list[float]]:
    """Seconds of every turn, ours and the peer's; the first turn of both is discarded."""
    ours: list[float] = []
    peer: list[float] = []
    stop = threading.Event()
    dense = _Dense(config)
    started = time.perf_counter()
    steps = 0

    def after_step(point: str) -> None:
        nonlocal started, steps
        steps += point == "step"
        if point != "step" or steps % TURN:
            return
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        for _ in range(TURN):
            dense.step()
        peer.append(time.perf_counter() - started)
        if len(peer) > turns:
            stop.set()
        started = time.perf_counter()

    with wiring.trainer(config, publish=True, crash=after_step) as trainer:
        trainer.run(follow=False, stop=stop)
    if len(peer) <= turns:
        raise ValueError(f"the log held only {len(peer)} turns, {turns + 1} were asked for")
    return ours[1:], peer[1:]


class _Dense:
    """The network on ready tensors; embedded rows are a leaf of the graph, as the store's are."""

    def __init__(self, config: Config) -> None:
        self._model = wiring.model(config)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=config.training.dense_lr)
        shape = (BATCH, self._model.n_sparse, config.features.dim)
        self._embedded_BFD = torch.rand(shape).requires_grad_()
        self._numeric_BN = torch.rand(BATCH, self._model.n_numeric)
        self._labels_B = torch.randint(0, 2, (BATCH,)).float()

    def step(self) -> None:
        self._embedded_BFD.grad = None
        self._optimizer.zero_grad(set_to_none=True)
        logits_B = self._model(self._embedded_BFD, self._numeric_BN)[:, 0]
        binary_cross_entropy_with_logits(logits_B, self._labels_B).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


def fill(config: Config, impressions: int) -> None:
    """A log of impressions, a tenth of whose items are clicked."""
    rng = np.random.default_rng(0)
    log = wiring.event_log(config)
    events: list[Event] = []
    for number in range(impressions):
        events += _impression(rng, number)
        if len(events) > 4096:
            log.append(encode_events(events))
            events = []
    log.append(encode_events(events))
    log.close()


def _impression(rng: np.random.Generator, number: int) -> list[Event]:
    request: dict[str, Value] = {f"r{n}": f"v{v}" for n, v in enumerate(rng.zipf(1.2, 11) % 100_000)}
    request |= {f"rn{n}": float(v) for n, v in enumerate(rng.random(7))}
    item_features: dict[str, list[Value]] = {
        f"i{n}": [f"v{v}" for v in rng.zipf(1.2, ITEMS) % 100_000] for n in range(13)
    }
    item_features |= {f"in{n}": [float(v) for v in rng.random(ITEMS)] for n in range(6)}
    items = [
        f"item-{number}-{place}" if rng.random() < 0.01 else f"item-{place}-{rng.zipf(1.2) % 100_000}"
        for place in range(ITEMS)
    ]
    time_ms = 1_700_000_000_000 + number * 50
    shown = Impression(
        id=f"{number}",
        time=time_ms,
        user=f"u{rng.zipf(1.2) % 100_000}",
        items=items,
        features=request,
        item_features=item_features,
    )
    clicks = [Interaction(time=time_ms + 1000, impression=shown.id, item=item) for item in items if rng.random() < 0.1]
    return [shown, *clicks]
