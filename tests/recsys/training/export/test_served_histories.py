"""A model that pools histories itself scores a request as the server reads it, as it scores the training row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys import wiring
from recsys.config.file import parse
from recsys.training.export.exporter import Exporter
from recsys.training.learner import Learner
from serving.cache.row_cache import RowCache
from serving.cache.row_store import MemoryRows
from serving.model.artefact import RANKER, Artefact
from serving.model.loaded_model import LoadedModel
from serving.model.scorer import load_scorer
from streaming.encode.encoder import Encoder
from streaming.events.schema import Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.join.labeled_impression import LabeledImpression
from streaming.log.memory_log import MemoryLog
from tests.contracts.scorer import tracer
from tests.graphs import GRAPHS

READ = "user.recent(click, 3)"
CONFIG = parse(
    f"""
[features]
dim = 8
fields = [
  {{ name = "read", kind = "multi", source = "{READ}", table = "item", pooling = "attention" }},
  {{ name = "in_order", kind = "multi", source = "{READ}", pooling = "self-attention" }},
  {{ name = "user", source = "user" }},
  {{ name = "item", source = "item" }},
]
[features.tables.user]
dim = 4
[training]
batch_size = 16
init_scale = 0.3
averaging = 0.0
""",
    Path("recsys.toml"),
)
START = 1_700_000_000_000


def learned() -> Learner:
    """From lists of four items, of which two are clicked within a second."""
    log, draw = MemoryLog(1), np.random.default_rng(0)
    for n in range(60):
        items = [f"i{item}" for item in draw.permutation(12)[:4]]
        one = Impression(id=f"n{n}", time=START + 5000 * n, user=f"u{n % 3}", items=items)
        clicks = [Interaction(time=one.time + 500 * k, impression=one.id, item=items[k]) for k in (1, 2)]
        log.append(encode_events([one, *clicks]))
    learner, feed = wiring.learner(CONFIG), wiring.feed(CONFIG, log)
    longest = 0
    for batch in [*feed.poll(), *feed.finish()]:
        learner.step(batch)
        longest = max(longest, int(batch.ids["read"].lengths_B.max()))
    assert longest == 3
    return learner


def served(learner: Learner) -> LoadedModel:
    """With the rows and the graph that would be published."""
    exporter = Exporter(learner.served_model, learner.spec, cache=GRAPHS, executor=tracer())
    graph = exporter.graph(learner.served_model)
    dims = {name: table.dim for name, table in learner.store.tables.items()}
    rows = MemoryRows(dims)
    learner.store.subscribe("server")
    for table, changed in learner.store.delta("server").tables.items():
        rows.write(table, changed.ids_U, changed.values_UD)
    artefact = Artefact("1", 1, 1, dims, {RANKER: graph}, learner.spec, learner.scaling)
    return LoadedModel("m", artefact, load_scorer(graph), RowCache(rows, 100), 0.0, Encoder(learner.spec))


@pytest.mark.slow
def test_a_request_is_scored_as_the_row_of_its_impression() -> None:
    learner = learned()
    model, items = served(learner), ["i1", "i2", "i3", "new"]
    scores = []
    for read in ([], ["i1"], ["i4", "unknown", "i5"], ["i4", "unknown", "i5", "i6"], ["i5", "unknown", "i4"]):
        encoded = model.encode("u1", START, {READ: list(read)}, items, {})
        scores.append(model.score(encoded, model.embed(encoded))[:, 0])
        row = shown(items, read)
        trained_C = learner.score(Encoder(learner.spec).encode_impressions([row], None, (0,)))
        np.testing.assert_allclose(scores[-1], trained_C, atol=1e-5)
    assert float(np.abs(scores[0] - scores[1]).max()) > 1e-3
    np.testing.assert_allclose(scores[2], scores[3], atol=1e-5)  # a fourth does not matter
    assert float(np.abs(scores[2] - scores[4]).max()) > 1e-3  # their order does
    assert model.artefact.to_bytes()
    model.smoke_test()


def shown(items: list[str], read: list[str]) -> LabeledImpression:
    return LabeledImpression(
        id="A",
        time=START,
        user="u1",
        items=tuple(items),
        features={READ: list(read)},
        item_features={},
        propensities=(),
        experiment="",
        arm="",
        model="",
        positions=tuple(range(len(items))),
        labels=(0.0,) * len(items),
        decided=START,
        sequence=0,
        number=0,
    )
