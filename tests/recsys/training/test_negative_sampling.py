"""Learning from a tenth of the rows without a positive, on planted logs whose truth is known.

Shape suffixes: B training rows, K rows of them that are kept, I impressions.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.errors import ConfigError, InvalidValueError
from recsys.search.supernet_training import loss_of
from recsys.training.dense.peers import Scores
from recsys.training.learner import Learner
from recsys.training.negative_sampling import NegativeRates, NegativeSampling, SampledBatch
from recsys.training.progress import Progress
from streaming.encode.batch import TrainingBatch
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.log.memory_log import MemoryLog
from tests.recsys.training.debiasing.test_propensity_debiasing import rows

RATES = np.array([0.02, 0.05, 0.1, 0.23])
"""Of clicks, by item: a tenth in all."""
IMPRESSIONS = 4_000
UNIFORM = "[training.negatives]\nrate = 0.1"
SCORE = f'{UNIFORM}\nmethod = "score"'


def config_of(negatives: str = "") -> Config:
    fields = 'fields = [{ name = "item", source = "item" }]'
    training = '[training]\nbatch_size = 64\ndense_lr = 0.02\nsparse_lr = 0.5\naveraging = 0.0\nwait = "10m"'
    return parse(f'[features]\ndim = 4\n{fields}\n[model]\nname = "lr"\n{training}\n{negatives}', Path("recsys.toml"))


@cache
def planted() -> MemoryLog:
    """One list of all items every second, whose clicks come after half a minute in the mean."""
    rng = np.random.default_rng(0)
    events: list[Event] = []
    clicked_IB = rng.random((IMPRESSIONS, len(RATES))) < RATES
    for number, clicked_B in enumerate(clicked_IB):
        items = [f"i{n}" for n in range(len(RATES))]
        events.append(Impression(id=f"l{number}", time=number * 1000, user="u", items=items))
        events += [
            Interaction(time=number * 1000 + int(rng.exponential(30_000)), impression=f"l{number}", item=f"i{n}")
            for n in np.flatnonzero(clicked_B)
        ]
    log = MemoryLog()
    log.append(encode_events(sorted(events, key=lambda event: event.time)))
    return log


def calibration(config: Config, learner: Learner) -> tuple[float, Progress]:
    """Mean score before learning over the planted rate, without the first third of the batches; and all figures."""
    progress, scores = Progress(), []
    for batch in wiring.feed(config, planted()).poll():
        scores_B = learner.step(batch)
        assert len(scores_B) == len(batch)
        progress.add(batch, scores_B, events=0, lag=0)
        scores.append(scores_B[batch.counted_B > 0])
    return float(np.concatenate(scores[len(scores) // 3 :]).mean() / RATES.mean()), progress


class Uncorrected(NegativeSampling):
    """Learns what it keeps as if that were all."""

    def learned(self, batch: TrainingBatch, scores_B: Scores) -> SampledBatch | None:
        kept = super().learned(batch, scores_B)
        return kept and replace(kept, shifts_B=np.zeros_like(kept.shifts_B))


@pytest.fixture(scope="module")
def all_rows() -> Progress:
    """The figures of a learner of everything, which is calibrated itself."""
    found, progress = calibration(config_of(), wiring.learner(config_of()))
    assert found == pytest.approx(1, abs=0.1)
    return progress


@pytest.mark.parametrize("section", [UNIFORM, SCORE], ids=["uniform", "score"])
def test_scores_from_a_tenth_of_the_negatives_are_calibrated_on_all_traffic(section: str, all_rows: Progress) -> None:
    config = config_of(section)
    sampled = wiring.learner(config)
    found, progress = calibration(config, sampled)
    assert found == pytest.approx(1, abs=0.1)
    assert sampled.beside.negatives is not None
    counts = sampled.beside.negatives.counts
    assert counts["learned"] / counts["negatives"] == pytest.approx(0.1, abs=0.03)
    assert progress.labels == all_rows.labels, "rows that were not learned are judged, too"
    assert progress.total().auc == pytest.approx(all_rows.total().auc, abs=0.02)


def test_without_the_correction_scores_are_far_too_high() -> None:
    config = config_of(UNIFORM)
    learner = wiring.learner(config)
    learner.beside.negatives = Uncorrected(NegativeRates(0.1))
    found, _ = calibration(config, learner)
    assert found > 3


def silent(count: int) -> TrainingBatch:
    return rows(np.arange(count), np.zeros(count), 1.0)


def test_the_click_of_a_silence_that_was_left_out_is_learned_as_a_positive_and_of_others_corrects_it() -> None:
    batch, sampling = silent(1000), NegativeSampling(NegativeRates(0.3))
    scores_B = np.full(1000, 0.1, np.float32)
    kept = sampling.learned(batch, scores_B)
    assert kept is not None
    clicks = replace(batch, labels_B=np.ones(1000, np.float32), counted_B=np.zeros(1000, np.float32))
    later = sampling.learned(clicks, scores_B)
    assert later is not None
    assert len(later) == 1000
    assert set(later.keys_B[later.counted_B == 0].tolist()) == set(kept.keys_B.tolist())
    assert sampling.counts == {"negatives": 1000, "learned": len(kept)}
    assert 250 < len(kept) < 350
    np.testing.assert_allclose(kept.shifts_B, -np.log(0.3), rtol=1e-6)


def test_by_score_negatives_are_kept_in_proportion_to_their_scores_within_bounds() -> None:
    scores_B = np.repeat(np.array([0.0001, 0.05, 0.1, 0.9], np.float32), 1000)
    sampling = NegativeSampling(NegativeRates(0.2, "score", min_rate=0.02))
    kept = sampling.learned(silent(4000), scores_B)
    assert kept is not None
    expected = np.array([0.02, 0.2 * 0.05 / scores_B.mean(), 0.2 * 0.1 / scores_B.mean(), 0.2 * 0.9 / scores_B.mean()])
    shares = np.bincount(kept.keys_B // 1000, minlength=4) / 1000
    np.testing.assert_allclose(shares, expected, atol=0.03)
    np.testing.assert_allclose(np.exp(-kept.shifts_B), expected[kept.keys_B // 1000], rtol=1e-4)


def test_each_task_of_a_shown_item_is_drawn_for_itself_and_weights_of_rows_are_kept() -> None:
    batch = silent(1000)
    weighted = replace(batch, weights_B=np.full(1000, 3, np.float32))
    other = replace(batch, keys_B=batch.keys_B | 1 << 58)
    scores_B = np.full(1000, 0.1, np.float32)
    sampling = NegativeSampling(NegativeRates(0.5))
    kept, kept_of_other = sampling.learned(weighted, scores_B), sampling.learned(other, scores_B)
    assert kept is not None
    assert kept_of_other is not None
    both = np.intersect1d(kept.keys_B, kept_of_other.keys_B & ~(1 << 58))
    assert 200 < len(both) < 300
    np.testing.assert_allclose(kept.weights_B, 3 * len(kept) / 1000, rtol=1e-6)


def test_a_batch_of_which_nothing_is_kept_is_scored_and_changes_no_weight() -> None:
    learner = wiring.learner(config_of("[training.negatives]\nrate = 1e-9"))
    before = learner.dense_state()
    scores_B = learner.step(silent(50))
    after = learner.dense_state()
    assert scores_B.shape == (50,)
    assert learner.steps == 1
    assert all(before[name].equal(after[name]) for name in before if name.startswith(("model.", "optimizer.")))
    assert learner.store.counters("item")["live"] == 0, "what is not learned takes no row"


def test_the_running_mean_is_in_the_checkpoint(tmp_path: Path) -> None:
    config = config_of(SCORE)
    whole, resumed = wiring.learner(config), wiring.learner(config)
    first, second = silent(100), replace(silent(100), keys_B=np.arange(100, 200))
    whole.step(first)
    whole.save(tmp_path)
    resumed.load(tmp_path)
    for learner in (whole, resumed):
        learner.step(second)
    assert whole.digest() == resumed.digest()
    assert "negatives.scores" in whole.dense_state()
    plain = wiring.learner(config_of())
    plain.load(tmp_path)
    assert not any(name.startswith("negatives.") for name in plain.dense_state())


def test_at_a_rate_of_one_nothing_is_sampled() -> None:
    assert wiring.learner(config_of("[training.negatives]\nrate = 1.0")).beside.negatives is None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('[training.negatives]\nmethod = "score"', "training.negatives.method: has no effect with rate = 1.0"),
        (f"{UNIFORM}\nmin_rate = 0.05", 'training.negatives.min_rate: has no effect with method = "uniform"'),
        (f"{SCORE}\nmin_rate = 0.5", "training.negatives.min_rate: is 0.5, above the rate of 0.1"),
        ("[training.negatives]\nrate = 0.0", "training.negatives.rate: must be greater than 0"),
        (
            f"{UNIFORM}\n[training.debiasing]\npositions = true",
            "training.debiasing.positions: needs training.negatives",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_named(section: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        config_of(section)


def test_a_search_refuses_what_it_does_not_do() -> None:
    with pytest.raises(InvalidValueError, match="learns all rows"):
        loss_of(config_of(UNIFORM))


@pytest.mark.parametrize("rate", [0.0, 1.5, float("nan")])
def test_rates_that_are_none(rate: float) -> None:
    with pytest.raises(InvalidValueError, match="rate"):
        NegativeRates(rate)
