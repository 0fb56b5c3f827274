"""Bodies that clients have compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from serving.api.messages.request_errors import BadRequestError, TooLargeError

_GZIP = 31
"""zlib's name for gzip with the largest window."""
_AT_ONCE = 1 << 12
"""Bytes given to zlib at once: at the end of each member it copies what is left of them, and members may be tiny."""


class GzipBody:
    """The bytes of a body as its parts arrive (RFC 1952, several members too); at most `most`, so that no small body
    becomes one that fills the memory.

    >>> import gzip
    >>> body = GzipBody(most=3)
    >>> body.read(gzip.compress(b"abc")), body.end()
    (b'abc', None)
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._member = zlib.decompressobj(_GZIP)

    def read(self, part: bytes) -> bytes:
        """What the next part holds. Raises BadRequestError if it is no gzip, TooLargeError beyond the limit."""
        slices = (part[start : start + _AT_ONCE] for start in range(0, len(part), _AT_ONCE))
        return b"".join(held for few in slices for held in self._unpacked(few))

    def _unpacked(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            try:
                held = self._member.decompress(packed, self._left + 1)
            except zlib.error as error:
                raise BadRequestError(f"the body is not gzip, as Content-Encoding says: {error}") from None
            self._left -= len(held)
            if self._left < 0:
                raise TooLargeError(f"the body is larger than {self._most} bytes when it is unpacked; send it in parts")
            yield held
            packed = self._member.unused_data

    def end(self) -> None:
        """Raises BadRequestError if more must come."""
        if not self._member.eof:
            raise BadRequestError("the body is gzip that ends too early: send it whole")
