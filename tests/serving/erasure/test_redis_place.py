"""What Redis has of a user is found by its keys, whatever users, items and models are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.erasure.redis_place import RedisPlace
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import KeyNames, run_of
from serving.replication.publish.publisher import Publisher
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.encode.user_rows import user_ids
from tests.serving.fakes import artefact, delta

SPEC = FeatureSpec.of([Field("item", "categorical", "user")])


@pytest.mark.parametrize("name", ["sequence", "artefact", "a:sequence", "3f:artefact", "row:item:sequence"])
def test_a_user_may_be_called_as_a_part_of_a_key(client: RedisClient, name: str) -> None:
    publisher = Publisher(client, "m")
    publisher.begin("3f")
    (id_,) = user_ids(SPEC, [name])["item"].tolist()
    publisher.publish(delta(1, {int(id_): 1.0, 7: 1.0}, full=True))
    publisher.publish_artefact(artefact(step=1))
    publisher.publish_entities({name: {"town": "x"}, "other": {"town": "y"}}, {name: {"kind": "z"}})
    publisher.freeze("frozen")
    for key in (client.names.visited_user(name), client.names.visited_item(name)):
        client.set(key, "{}")
    kept, rows = set(client.keys()), user_ids(SPEC, [name])["item"]
    place = RedisPlace(client, SPEC, [name], list)
    gone = {client.names.user(name), client.names.visited_user(name)}
    for keys in (client.names.model("m", "3f"), client.names.model("frozen")):
        gone |= set(keys.rows("item", rows))
    assert place.count() == len(gone) == 4
    place.remove()
    assert place.count() == 0
    assert kept - set(client.keys()) == {key.encode() for key in gone}


@given(
    name=st.text(min_size=1),
    model=st.from_regex(r"[a-z][A-Za-z0-9_.-]{0,8}", fullmatch=True),
    run=st.sampled_from(["", "3f"]),
)
def test_only_keys_of_a_model_are_of_a_run(name: str, model: str, run: str) -> None:
    names = KeyNames(tags=["7"])
    for ending in ("sequence", "artefact"):
        for key in (names.user(f"{name}:{ending}"), names.item(ending), names.visited_user(f"{name}:{ending}")):
            assert run_of(key.encode()) is None
        assert run_of(names.counted("3f", "user", f"{name}:{ending}").encode()) is None
    keys = names.model(f"m{model}", run)
    assert {run_of(key.encode()) for key in (keys.artefact, *keys.sequences)} == {(f"m{model}", run)}
