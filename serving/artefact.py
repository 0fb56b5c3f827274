"""What a trainer hands to serving: an exported graph with the feature specification that it was trained on.

Bytes: magic, length of the header (u32, little-endian), header (JSON), graph. The header carries the SHA-256 of header
fields and graph together, so that a torn or altered artefact is refused before anything of it runs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

import msgspec

from streaming.features import FeatureSpec, Field

_MAGIC = b"recsys-artefact-1\n"


class ArtefactError(ValueError):
    """The bytes are not a whole, unaltered artefact."""


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: str
    step: int
    time: int
    dim: int
    fields: list[Field]
    sha256: str = ""


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
        header = _Header(self.version, self.step, self.time, self.dim, list(self.spec.fields))
        sealed = msgspec.structs.replace(header, sha256=_digest(header, self.graph))
        encoded = msgspec.json.encode(sealed)
        return b"".join((_MAGIC, len(encoded).to_bytes(4, "little"), encoded, self.graph))

    @property
    def sha256(self) -> str:
        """Hash of header fields and graph: two artefacts with the same hash rank the same."""
        header = _Header(self.version, self.step, self.time, self.dim, list(self.spec.fields))
        return _digest(header, self.graph)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ArtefactError (a ValueError) when the bytes are cut, altered or of another format."""
        start = len(_MAGIC) + 4
        if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
            raise ArtefactError("not an artefact of this version: publish it again with the trainer of this release")
        size = int.from_bytes(data[start - 4 : start], "little")
        try:
            header = msgspec.json.decode(data[start : start + size], type=_Header)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ArtefactError(f"artefact header is damaged ({error}): publish it again") from error
        graph = data[start + size :]
        if _digest(msgspec.structs.replace(header, sha256=""), graph) != header.sha256:
            raise ArtefactError(
                f"artefact {header.version!r} is cut or altered (its SHA-256 does not match): publish it again"
            )
        spec = FeatureSpec(tuple(header.fields))
        return cls(header.version, header.step, header.time, header.dim, graph, spec)


def _digest(header: _Header, graph: bytes) -> str:
    digest = hashlib.sha256(msgspec.json.encode(header))
    digest.update(graph)
    return digest.hexdigest()
