"""The Open Bandit Dataset: the click rate of each policy, estimated from the other's log and read from its own.

The target `random` draws evenly. The target `bts`, a bandit that knows no context, is taken as how often its own log
shows each item at each position, which no click has a part in. DR's model of clicks is the rate of an item at a
position, drawn towards the rate of the item and that towards the rate of all, from the half of the log without the row
that is estimated. Shape suffixes: R rows, P positions, I items.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np

from recsys.datasets.open_bandit import CAMPAIGNS, POLICIES, BanditLog, bandit_log
from recsys.evaluation.result_file import ResultFile, markdown_table
from recsys.off_policy.estimates import Contributions, Estimate, mean
from recsys.off_policy.overlap import effective_sample_size, no_overlap
from recsys.off_policy.policies import Floats

_PRIOR = 100.0
"""Rows that a rate drawn towards counts as."""


ESTIMATORS = ("IPS", "SNIPS", "DR")


class BanditRow(msgspec.Struct, frozen=True):
    """Click rates of `target` in one campaign.

    An estimate `agrees` if it differs from the own rate by no more than both intervals allow. They are of different
    logs, so that their errors are independent and their half widths add up as squares.
    """

    campaign: str
    log: str
    target: str
    rows: int
    clicks: int
    effective: float
    refused: str
    own: Estimate
    """Of the target, from its own log."""
    estimates: dict[str, Estimate]
    agrees: dict[str, bool]


class BanditResult(ResultFile, frozen=True):
    """What was found in all campaigns."""

    made_by = "recsys reproduce open-bandit"
    rows: tuple[BanditRow, ...]

    def table(self) -> list[list[str]]:
        """Clicks per 1,000 items shown, with the heads; an estimate that does not agree is starred."""
        return [["campaign", "log of", "policy", "effective", "own log", *ESTIMATORS], *map(_cells, self.rows)]

    def markdown(self) -> str:
        """The table for a document."""
        return markdown_table(self.table(), words=3)


def open_bandit_study(folder: Path) -> BanditResult:
    """Both policies from each other's log. Raises FileError and InvalidValueError for other data."""
    found = []
    for campaign in CAMPAIGNS:
        logs = {policy: bandit_log(folder, policy, campaign) for policy in POLICIES}
        items = 1 + max(int(log.items_R.max()) for log in logs.values())
        positions = 1 + max(int(log.positions_R.max()) for log in logs.values())
        for source, target in (POLICIES, POLICIES[::-1]):
            chances_PI = _chances(target, logs[target], positions, items)
            found.append(_row(campaign, source, target, logs[source], mean_clicks(logs[target]), chances_PI))
    return BanditResult(rows=tuple(found))


def _cells(row: BanditRow) -> list[str]:
    found = [f"{_per_thousand(one)}{'' if row.agrees[name] else ' *'}" for name, one in row.estimates.items()]
    known = [row.campaign, row.log, row.target, f"{row.effective:,.0f}", _per_thousand(row.own)]
    return known + (found or ["refused"] * len(ESTIMATORS))


def _per_thousand(one: Estimate) -> str:
    interval = "" if one.low is None or one.high is None else f" [{1000 * one.low:.1f}, {1000 * one.high:.1f}]"
    return f"{1000 * one.value:.1f}{interval}"


def mean_clicks(log: BanditLog) -> Estimate:
    """The click rate of a log's own policy."""
    return mean(log.clicks_R, np.arange(len(log)))


def _chances(target: str, own: BanditLog, positions: int, items: int) -> Floats:
    """The chance of each item at each position."""
    if target == "random":
        return np.full((positions, items), 1 / items)
    return (
        _counts(own, np.ones(len(own)), positions, items) / np.bincount(own.positions_R, minlength=positions)[:, None]
    )


def _counts(log: BanditLog, weights_R: Floats, positions: int, items: int) -> Floats:
    """Sums of the weights of each position and item."""
    cells_R = log.positions_R * items + log.items_R
    return np.asarray(np.bincount(cells_R, weights_R, positions * items).reshape(positions, items))


def _row(campaign: str, source: str, target: str, log: BanditLog, own: Estimate, chances_PI: Floats) -> BanditRow:
    weights_R = chances_PI[log.positions_R, log.items_R] / log.propensities_R
    every = _contributions(log, weights_R, chances_PI)
    refused = no_overlap(weights_R)
    estimates = {} if refused else dict(zip(ESTIMATORS, (every.ips(), every.snips(), every.dr()), strict=True))
    return BanditRow(
        campaign=campaign,
        log=source,
        target=target,
        rows=len(log),
        clicks=int(log.clicks_R.sum()),
        effective=effective_sample_size(weights_R),
        refused=refused,
        own=own,
        estimates=estimates,
        agrees={name: _agree(one, own) for name, one in estimates.items()},
    )


def _agree(one: Estimate, other: Estimate) -> bool:
    if one.high is None or other.high is None:
        return False
    return abs(one.value - other.value) <= math.hypot(one.high - one.value, other.high - other.value)


def _contributions(log: BanditLog, weights_R: Floats, chances_PI: Floats) -> Contributions:
    """Each row is a list of one position."""
    model_R, expected_R = np.zeros(len(log)), np.zeros(len(log))
    half_R = np.arange(len(log)) % 2
    for half in (0, 1):
        rates_PI = _rates(log, (half_R != half).astype(np.float64), *chances_PI.shape)
        rows = half_R == half
        model_R[rows] = rates_PI[log.positions_R[rows], log.items_R[rows]]
        expected_R[rows] = (chances_PI * rates_PI).sum(1)[log.positions_R[rows]]
    return Contributions(
        units_L=np.arange(len(log)),
        dr_L=weights_R * (log.clicks_R - model_R) + expected_R,
        weights_LT=weights_R[:, None],
        rewards_LT=log.clicks_R[:, None],
    )


def _rates(log: BanditLog, weights_R: Floats, positions: int, items: int) -> Floats:
    """Click rates of each position and item, from the rows with a weight."""
    shown_PI = _counts(log, weights_R, positions, items)
    clicks_PI = _counts(log, weights_R * log.clicks_R, positions, items)
    rate = clicks_PI.sum() / shown_PI.sum()
    rate_I = (clicks_PI.sum(0) + _PRIOR * rate) / (shown_PI.sum(0) + _PRIOR)
    return np.asarray((clicks_PI + _PRIOR * rate_I) / (shown_PI + _PRIOR))
