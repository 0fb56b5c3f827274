"""Self-supervision of the two-tower model in the trainer: what learns, what stays the same, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recsys import wiring
from recsys.errors import ConfigError
from tests.recsys.training.retrieval.test_retrieval_learner import SETTINGS, batches, config

pytestmark = pytest.mark.slow

METHODS = ["spread_out", "rfm", "cfm"]
RICH = SETTINGS.replace('name = "price"', 'name = "free", source = "item.free" },\n  { name = "price"')


def with_ssl(text: str, settings: str = SETTINGS) -> str:
    return f"{settings}\n[retrieval.ssl]\n{text}\n"


def test_weight_zero_gives_the_same_bits_as_none() -> None:
    learners = [wiring.learner(config(text)) for text in (SETTINGS, with_ssl('method = "rfm"\nweight = 0.0'))]
    for batch in batches(3):
        for learner in learners:
            learner.step(batch, scored=False)
    assert learners[0].digest() == learners[1].digest()


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_goes_on_with_the_same_bits(method: str, tmp_path: Path) -> None:
    text = with_ssl(f'method = "{method}"\nbatch = 32', RICH)
    plain, learner, resumed = (wiring.learner(config(one)) for one in (RICH, text, text))
    more = batches(7, text=RICH)
    for batch in more[:3]:
        plain.step(batch, scored=False)
        learner.step(batch, scored=False)
    assert plain.digest() != learner.digest()
    (tmp_path / "0" / "rank-0").mkdir(parents=True)
    learner.save(tmp_path / "0" / "rank-0")
    resumed.load(tmp_path / "0" / "rank-0")
    for batch in more[3:]:
        learner.step(batch, scored=False)
        resumed.step(batch, scored=False)
    assert learner.digest() == resumed.digest()
    assert learner.beside.retrieval is not None
    assert learner.beside.retrieval.report["ssl_loss"] > 0


def test_rows_of_items_that_were_shown_and_not_clicked_learn() -> None:
    text = with_ssl('method = "rfm"\nbatch = 256').replace("negatives = 16", "negatives = 0")
    learner = wiring.learner(config(text))
    seen = batches(2)
    for batch in seen:
        learner.step(batch, scored=False)
    shown, clicked = (set(seen[0].ids["item"].values[rows].tolist()) for rows in (slice(None), seen[0].labels_B > 0))
    clicked |= set(seen[1].ids["item"].values[seen[1].labels_B > 0].tolist())
    never = np.array(sorted(shown - clicked), np.uint64)
    assert len(never) > 5
    rows_ND = learner.store.peek("retrieval_item_item", never).values_ND
    plain = wiring.learner(config(SETTINGS.replace("negatives = 16", "negatives = 0").replace("pool = 256\n", "")))
    for batch in seen:
        plain.step(batch, scored=False)
    assert np.count_nonzero(np.abs(rows_ND).sum(1)) > len(never) / 2
    assert not plain.store.peek("retrieval_item_item", never).values_ND.any()


def test_a_loss_that_is_not_finite_costs_the_step_not_the_model() -> None:
    learner = wiring.learner(config(with_ssl('method = "rfm"\ntemperature = 1e-45\nweight = 1e300')))
    for batch in batches(2):
        learner.step(batch, scored=False)
    assert learner.beside.retrieval is not None
    assert learner.beside.retrieval.report["left_out"] == 1
    assert all(torch.isfinite(value).all() for value in learner.beside.retrieval.model.state_dict().values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight = 0.5", r"retrieval.ssl.weight: has no effect with method = \"none\". Write rfm"),
        (
            'method = "spread_out"\ntemperature = 0.5',
            r"retrieval.ssl.temperature: has no effect with method = \"spread_out\"",
        ),
        ('method = "cfm"', "retrieval.ssl.method: cfm needs 4 fields of the item, of which there are 3: .* write rfm"),
        ('method = "rfm"\nshare = 1.0', "retrieval.ssl.share: .*less than 1"),
        ('method = "simclr"', "retrieval.ssl.method"),
    ],
)
def test_contradictions_are_refused_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(with_ssl(text))


def test_dropout_without_a_set_and_ssl_without_towers_are_refused() -> None:
    bare = SETTINGS.replace('name = "tags", kind = "multi"', 'name = "tags"')
    with pytest.raises(ConfigError, match=r"retrieval.ssl.dropout: .* kind multi"):
        config(with_ssl('method = "rfm"\ndropout = 0.2', bare))
    with pytest.raises(ConfigError, match=r"retrieval.ssl: has no effect while two_tower is false"):
        config('[retrieval.ssl]\nmethod = "rfm"\n')
