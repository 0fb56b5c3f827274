"""Hashes of many texts against the package `xxhash`."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from streaming.text_hash import LONGEST, xxh3_texts

seeds = st.integers(0, 2**64 - 1)


def hashed(texts: list[bytes], seed: int) -> list[int]:
    stops_T = np.cumsum([len(text) for text in texts])
    starts_T = stops_T - [len(text) for text in texts]
    found: list[int] = xxh3_texts(np.frombuffer(b"".join(texts), np.uint8), starts_T, stops_T, seed).tolist()
    return found


@given(seeds)
def test_texts_of_every_length_have_the_hashes_of_the_package(seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts = [rng.bytes(size) for size in range(LONGEST + 20)]
    assert hashed(texts, seed) == [xxh3_64_intdigest(text, seed=seed) for text in texts]
