"""What a trainer exports for serving: graphs with the feature specification that they were trained on.

Bytes: magic, SHA-256 of all that follows, length of the header (u32, little-endian), header (JSON), graphs. A truncated
or altered artefact is refused before any of it is used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import msgspec

from recsys.errors import ArtefactError
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.encode.scaling import Scaling

_MAGIC = b"recsys-artefact-3\n"
_HASH = len(_MAGIC)
_SIZE = _HASH + hashlib.sha256().digest_size
_HEADER = _SIZE + 4


RANKER = "ranker"
"""The graph that scores candidates."""
USER_TOWER = "user_tower"
"""The graph that gives a user's vector, for retrieval; absent without a two-tower model."""
USER_TABLE = "retrieval_user_"
"""What the names of the user tower's tables begin with, before that of the ranker's table with the same ids."""


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: str
    step: int
    time: int
    dims: dict[str, int]
    sizes: dict[str, int]
    fields: list[Field]
    scaling: Scaling
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Artefact:
    """One version of a model. `time` is the event time (ms) up to which it was trained."""

    version: str
    step: int
    time: int
    dims: dict[str, int]
    """Dimension of the rows, by table."""
    graphs: dict[str, bytes]
    """ONNX by name, dense part only."""
    spec: FeatureSpec
    scaling: Scaling
    """Scaling of the numeric fields of `spec`, applied before a graph."""
    tasks: tuple[str, ...] = ("click",)
    """Names of the tasks whose probabilities the graph gives, in its order."""

    def to_bytes(self) -> bytes:
        """Serialise, with the hash."""
        sizes = {name: len(graph) for name, graph in self.graphs.items()}
        fields = list(self.spec.fields)
        header = msgspec.json.encode(
            _Header(self.version, self.step, self.time, self.dims, sizes, fields, self.scaling, self.tasks)
        )
        content = b"".join((len(header).to_bytes(4, "little"), header, *self.graphs.values()))
        return b"".join((_MAGIC, hashlib.sha256(content).digest(), content))

    @property
    def sha256(self) -> str:
        """Hash of the whole content, as hexadecimal digits."""
        return self.to_bytes()[_HASH:_SIZE].hex()

    @property
    def row_dim(self) -> int:
        """The dimension of the ranker's input, that of its widest table; 0 if it reads none."""
        return max((dim for table, dim in self.dims.items() if not table.startswith(USER_TABLE)), default=0)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ArtefactError when the bytes are truncated, altered or of another format."""
        if data[:_HASH] != _MAGIC or len(data) < _HEADER:
            raise ArtefactError("not an artefact of this release: publish it again with this release's trainer")
        if hashlib.sha256(data[_SIZE:]).digest() != data[_HASH:_SIZE]:
            raise ArtefactError("the artefact is cut or altered (its SHA-256 does not match): publish it again")
        end = _HEADER + int.from_bytes(data[_SIZE:_HEADER], "little")
        try:
            header = msgspec.json.decode(data[_HEADER:end], type=_Header)
            spec = FeatureSpec(tuple(header.fields))
        except ValueError as error:
            raise ArtefactError(f"the artefact's header cannot be read ({error}): publish it again") from error
        graphs = _split(data[end:], header.sizes)
        described = spec, header.scaling, header.tasks
        return cls(header.version, header.step, header.time, header.dims, graphs, *described)


def _split(data: bytes, sizes: dict[str, int]) -> dict[str, bytes]:
    ends = list(accumulate(sizes.values()))
    return {name: data[end - size : end] for (name, size), end in zip(sizes.items(), ends, strict=True)}
