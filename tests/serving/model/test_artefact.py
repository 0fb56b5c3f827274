from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ArtefactError
from serving.model.artefact import Artefact
from tests.serving.fakes import artefact

WHOLE = artefact(graph=bytes(range(256))).to_bytes()


def test_an_artefact_survives_its_bytes() -> None:
    assert Artefact.from_bytes(WHOLE) == artefact(graph=bytes(range(256)))


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_refused(place: int, bit: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] ^= 1 << bit
    with pytest.raises(ArtefactError):
        Artefact.from_bytes(bytes(damaged))


@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_one_is_refused(length: int) -> None:
    with pytest.raises(ArtefactError, match="publish it again"):
        Artefact.from_bytes(WHOLE[:length])


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ArtefactError):
        Artefact.from_bytes(data)


def test_the_hash_covers_the_header() -> None:
    assert artefact(step=1).sha256 != artefact(step=2).sha256


def test_several_graphs_keep_their_names() -> None:
    two = replace(artefact(), graphs={"ranker": b"one", "retriever": b"another"})
    assert Artefact.from_bytes(two.to_bytes()) == two


def test_the_ranker_s_rows_are_as_wide_as_the_widest_table() -> None:
    assert artefact(dim=4).row_dim == 4
    assert replace(artefact(), dims={"user": 4, "item": 8}).row_dim == 8
