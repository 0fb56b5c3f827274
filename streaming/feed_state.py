"""What a feed saves."""

from __future__ import annotations

import msgspec

from recsys.errors import StateError
from streaming.encode.encoded_rows import Packed
from streaming.encode.feature_spec import FeatureSpec
from streaming.log.event_log import Cursor


class FeedState(msgspec.Struct):
    """Joiner, entities, place in the log and rows that wait. Equal states give equal bytes."""

    spec: bytes
    partitions: tuple[int, ...]
    cursor: Cursor
    turn: tuple[int, int]
    joiner: bytes
    entities: bytes
    bad_values: dict[str, int]
    rows: Packed | None
    streamed: bytes = b""
    erasing: str = ""
    erased: list[str] = []

    @classmethod
    def decoded(cls, state: bytes, partitions: tuple[int, ...]) -> FeedState:
        """The state in bytes. Raises StateError for other bytes, or the state of other `partitions`."""
        try:
            loaded = msgspec.msgpack.decode(state, type=cls)
        except msgspec.DecodeError as error:
            raise StateError(f"not a feed's state: {error}") from error
        if loaded.partitions != partitions:
            raise StateError(f"the state joins partitions {loaded.partitions}, this feed {partitions}")
        return loaded

    def encoded(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @property
    def features(self) -> FeatureSpec:
        """The features that rows were encoded by."""
        return FeatureSpec.from_json(self.spec)
