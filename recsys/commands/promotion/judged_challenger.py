"""A challenger judged by the log, and how that is shown."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys import wiring
from recsys.config.schema import Config
from recsys.evaluation.challenger.judgement import FEWEST_POSITIVES, FEWEST_USERS, TOP, Judgement, judge
from recsys.evaluation.challenger.scored_lists import Version, scored_lists
from recsys.evaluation.challenger.varied_orders import VariedOrders
from recsys.off_policy.estimates import Estimate
from recsys.off_policy.policies import Policy, policy
from serving.ranking.diversity import ITEM, Diversity
from serving.replication.promoter import Candidate
from serving.settings import ServingSettings

_FIGURES = (("AUC", "auc"), ("log loss", "log_loss"), ("calibration", "calibration"))


def judged(config: Config, champion: Version, challenger: Candidate, since: int) -> Judgement:
    """By what was shown since an event time (ms)."""
    log, serving = wiring.event_log(config), config.serving
    try:
        found = scored_lists(
            log,
            lambda: wiring.joiner(config, labels="held"),
            champion,
            Version(challenger.model, challenger.run),
            since,
            serving.diversity_by.removeprefix(ITEM),
        )
    finally:
        log.close()
    return judge(found, serving.score, _orders(serving))


def _orders(serving: ServingSettings) -> Policy | VariedOrders | None:
    """How servers order by scores; None if they vary lists whose chances are not known."""
    if not serving.diversity:
        return policy(serving.exploration, serving.temperature, serving.epsilon)
    if serving.exploration != "plackett_luce":
        return None
    return VariedOrders(Diversity(serving.diversity_by, serving.diversity), serving.temperature)


def table(champion: str, challenger: str, one: Judgement) -> Table:
    """The figures of both, and their differences."""
    title = f"{one.items:,} items shown in {one.lists:,} lists to {one.users:,} users, {one.positives:,} positive"
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", champion, challenger, "difference"):
        drawn.add_column(name, justify="right" if name else "left", overflow="fold")
    differences = {"auc": one.auc, "log_loss": one.log_loss}
    for title, name in _FIGURES:
        both = (_number(getattr(figures, name)) for figures in (one.champion, one.challenger))
        drawn.add_row(title, *both, _estimate(differences.get(name), "+"))
    value = one.off_policy
    drawn.add_row(f"clicks in the first {TOP}", _estimate(value.shown), _estimate(value.dr), _estimate(value.gain, "+"))
    return drawn


def sentences(challenger: str, one: Judgement) -> Iterator[str]:
    """What a reader must know of the figures, and the verdict last."""
    if one.unlabelled:
        yield f"{one.unlabelled:,} lists more have labels that are not known yet."
    if one.lists + one.unlabelled < one.champions:
        yield (
            f"The champion has ranked {one.champions:,} lists; of the others {challenger!r} has no scores: "
            "servers score in the shadow when they have time."
        )
    value = one.off_policy
    if value.refused:
        yield f"Off-policy: {value.refused}."
    else:
        yield f"Off-policy: {value.lists:,} lists drawn at random say as much as {value.effective:,.0f} of its own."
    yield verdict(challenger, one)


def verdict(challenger: str, one: Judgement) -> str:
    because = f" ({', '.join(one.because)})" if one.because else ""
    return f"Verdict on {challenger!r}: {one.verdict}{because}."


def objection(model: str, one: Judgement) -> str:
    """What the judgement has against promoting it; empty if nothing."""
    if one.verdict == "worse":
        return f"{model!r} is worse than the champion by {', '.join(one.because)} on {one.items:,} shown items"
    if one.verdict == "too little":
        return (
            f"there is too little to judge {model!r} by: {' and '.join(one.because)}. Name it in [serving] shadow and "
            f"let servers run until {FEWEST_USERS} users and {FEWEST_POSITIVES} positives have been seen"
        )
    return ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _estimate(one: Estimate | None, sign: str = "") -> str:
    if one is None:
        return "-"
    interval = "" if one.low is None or one.high is None else f" [{one.low:{sign}.4f}, {one.high:{sign}.4f}]"
    return f"{one.value:{sign}.4f}{interval}"
