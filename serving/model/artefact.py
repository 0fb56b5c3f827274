"""What a trainer hands to serving: an exported graph with the feature specification that it was trained on.

Bytes: magic, SHA-256 of all that follows, length of the header (u32, little-endian), header (JSON), graph. A torn or
altered artefact is refused before anything of it is used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

import msgspec

from recsys.errors import ArtefactError
from streaming.encode.feature_spec import FeatureSpec, Field

_MAGIC = b"recsys-artefact-1\n"
_HASH = len(_MAGIC)
_SIZE = _HASH + hashlib.sha256().digest_size
_HEADER = _SIZE + 4


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: str
    step: int
    time: int
    dim: int
    fields: list[Field]


@dataclass(frozen=True, slots=True)
class Artefact:
    """One version of a model. `time` is the event time (ms) it was trained up to, `dim` that of every row it reads."""

    version: str
    step: int
    time: int
    dim: int
    graph: bytes
    """ONNX, dense part only."""
    spec: FeatureSpec

    def to_bytes(self) -> bytes:
        """Serialise, with the hash."""
        header = msgspec.json.encode(_Header(self.version, self.step, self.time, self.dim, list(self.spec.fields)))
        content = b"".join((len(header).to_bytes(4, "little"), header, self.graph))
        return b"".join((_MAGIC, hashlib.sha256(content).digest(), content))

    @property
    def sha256(self) -> str:
        """Hash of everything in it, as hexadecimal digits."""
        return self.to_bytes()[_HASH:_SIZE].hex()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ArtefactError (a ValueError) when the bytes are cut, altered or of another format."""
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
        return cls(header.version, header.step, header.time, header.dim, data[end:], spec)
