"""Whatever is posted, the answer is a ranking, a result for each event, or a 4xx that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from embedding.store import Delta, TableDelta
from serving.api.messages.schemas import ErrorResponse, EventsResponse, RankResponse
from serving.assembly import build
from serving.process_settings import Settings
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.ingest.codec import Rules
from streaming.log.memory_log import MemoryLog
from tests.serving.fakes import Graphs, artefact, ids, rows
from tests.serving.running import running
from tests.serving.waiting import until

SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("item", "categorical", "item"),
        Field("age", "numeric", "request.age"),
        Field("tags", "multi", "request.tags"),
        Field("price", "numeric", "item.price", transform="log1p"),
        Field("kind", "categorical", "item.kind"),
    ]
)
TYPES = {"/v1/rank": RankResponse, "/v1/recommend": RankResponse, "/v1/events": EventsResponse}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with a model that reads every kind of feature."""
    folder = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(folder) as server, server.client() as client:
        publisher = Publisher(client, "online")
        items, _ = Encoder(SPEC).encode_items(["a", "b"], [{}, {}])
        publisher.publish(Delta(1, True, {"item": TableDelta(items["item"].values, rows(0.1, 0.2), ids())}))
        publisher.publish_artefact(artefact(spec=SPEC))
        settings = Settings(redis_folder=folder, rules=Rules.of(SPEC), deadline=60_000)
        with running(build(settings, MemoryLog(), Graphs())) as connected:
            until(lambda: connected.get("/readyz").status_code == 200)
            yield connected


text = st.text(max_size=5) | st.text(st.characters(categories=["Cs"]), max_size=2)
"""Also halves of surrogate pairs, which Python's parser takes and UTF-8 does not."""
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
names = st.sampled_from(["a", "b", "c"])
kinds = st.sampled_from(["impression", "interaction", "user", "item"])
features = st.dictionaries(st.sampled_from(["age", "tags", "price", "kind", "new"]) | text, anything, max_size=3)
lists = st.lists(names, max_size=4)
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "user": names, "item": names, "items": lists, "exclude": lists, "id": names, "type": kinds, "impression": names,
    "count": st.integers(), "time": st.integers(0, 10), "features": features, "experiment": st.just("default"),
    "item_features": st.dictionaries(st.sampled_from(["price", "kind", "new"]), st.lists(scalars, max_size=4)),
}  # fmt: skip
"""Values that are right often enough to reach what lies behind the types."""


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON of nearly the right form, or what Python takes for JSON, or no JSON at all."""
    chosen = draw(st.sets(st.sampled_from([*PLAUSIBLE, "other"]), max_size=8))
    body: Any = {name: draw(st.one_of(PLAUSIBLE.get(name, anything), anything)) for name in sorted(chosen)}
    text = json.dumps(draw(st.sampled_from([body, [body], [body, body]]))).encode()
    return draw(st.sampled_from([text, text[: len(text) // 2], text + b"\n" + text, b"\xff" + text]))


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(TYPES))
@given(body=bodies() | st.binary(max_size=20))
@example(body=b"[" * 100_000)
@example(body=b'{"a":' * 100_000)
@example(body=b'{"user":"u","items":["a"],"features":{"age":1e999}}')
def test_any_body_gets_an_answer(app: httpx.Client, path: str, body: bytes) -> None:
    response = app.post(path, content=body)
    if response.status_code == 200 or (path == "/v1/events" and b"results" in response.content):
        msgspec.json.decode(response.content, type=TYPES[path])
    else:
        assert 400 <= response.status_code < 500
        assert msgspec.json.decode(response.content, type=ErrorResponse).error.message


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (b'"features":{"age":1e999}', "features.age"),
        (b'"features":{"age":NaN}', "features.age"),
        (b'"item_features":{"price":3}', "item_features.price"),
        (b'"item_features":[{"price":3}]', "item_features"),
        (b'"item_features":{"i1":{"price":3}}', "item_features.i1"),
        (b'"item_features":{"price":[[[1]]]}', "item_features.price"),
    ],
)
def test_the_feature_is_named(app: httpx.Client, wrong: bytes, field: str) -> None:
    response = app.post("/v1/rank", content=b'{"user":"u","items":["a"],' + wrong + b"}")
    assert response.json()["error"]["field"] == field
