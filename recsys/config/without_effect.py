"""Settings that do nothing beside the others. Each is an error, so that nobody waits for what it should do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recsys.config.all_sections import AllSections

Found = Iterator[tuple[tuple[int | str, ...], str]]
"""The place of a setting, and what is wrong with it."""


def without_effect(config: AllSections) -> Found:
    """Settings of one section that have no effect because of another section."""
    yield from _features(config)
    yield from _candidates(config)
    yield from _exploration(config)
    yield from _times(config)
    yield from _refused(config)
    yield from _experiments(config)


def _features(config: AllSections) -> Found:
    features, training = config.features, config.training
    changed = features.counted != type(features).model_fields["counted"].default
    if changed and all(field.to_field().streamed is None for field in features.fields):
        yield ("features", "counted"), "has no effect: the stream computes no field. Add one, or delete it"
    cold = any(table.cold_capacity for table in (features.defaults, *features.tables.values()))
    if not cold and training.cold_folder != type(training).model_fields["cold_folder"].default:
        yield ("training", "cold_folder"), "has no effect: no table has a cold_capacity. Set one, or delete it"


def _candidates(config: AllSections) -> Found:
    """A source without a share, and a share without its source."""
    shares, sets = config.serving.shares, config.item_sets
    if shares.get("basket") and not (sets.feature or sets.mined):
        message = "basket has no effect without item_sets.feature, which names the sets: set that, or delete this"
        yield ("serving", "shares"), message
    visits = [name for name in ("item_to_item", "history") if shares.get(name)]
    if visits and not config.item_to_item.enabled:
        message = f"{visits[0]} has no effect while item_to_item.enabled is false: set it, or delete this"
        yield ("serving", "shares"), message
    unasked = "has no effect: {} no share in serving.shares. Give a share, or delete it"
    if config.item_to_item.enabled and not (visits or sets.mined):
        yield ("item_to_item", "enabled"), unasked.format("item_to_item and history have")
    if sets.mined and not config.item_to_item.enabled:
        message = "there is nothing to mine sets from without item_to_item.enabled: set that, or delete this"
        yield ("item_sets", "mined"), message
    if (sets.feature or sets.mined) and not shares.get("basket"):
        yield ("item_sets", "feature" if sets.feature else "mined"), unasked.format("basket has")
    if config.retrieval.two_tower and not (shares.get("two_tower") or config.serving.prerank):
        yield ("retrieval", "two_tower"), unasked.format("two_tower has")


def _exploration(config: AllSections) -> Found:
    by = config.serving.thompson_by
    if by and by not in {field.source for field in config.features.fields}:
        yield (
            ("serving", "thompson_by"),
            f"no field has the source {by!r}, so it is not known: add one to features.fields",
        )


def _times(config: AllSections) -> Found:
    """Features of items that are times, which a field reads as something else."""
    for name in ("available_from", "available_until"):
        source = getattr(config.serving, name)
        for field in config.features.fields:
            if field.source == source and field.kind != "numeric":
                message = f"is a time in ms, and field {field.name!r} reads {source} as {field.kind}"
                yield ("serving", name), f"{message}: make the field numeric, or name another feature"


def _refused(config: AllSections) -> Found:
    """Features by which lists change that no event may carry."""
    if config.log.unknown_features == "keep":
        return
    serving = config.serving
    known = {field.source for field in config.features.fields} | {serving.available_from, serving.available_until, ""}
    named: list[tuple[tuple[int | str, ...], str]] = [
        (("serving", "score_by"), serving.score_by),
        (("serving", "diversity_by"), serving.diversity_by),
        (("item_sets", "feature"), config.item_sets.feature),
    ]
    named += [(("serving", "boosts", number, "feature"), boost.feature) for number, boost in enumerate(serving.boosts)]
    named += [
        (("serving", "minimums", number, "feature"), group.feature) for number, group in enumerate(serving.minimums)
    ]
    for place, source in named:
        if source not in known:
            message = (
                f'has no effect: no field reads {source}, and log.unknown_features = "refuse" refuses it in events'
            )
            yield place, f'{message}. Add a field, or write "keep"'


def _experiments(config: AllSections) -> Found:
    for number, experiment in enumerate(config.experiments):
        for n, arm in enumerate(experiment.arms):
            place = ("experiments", number, "arms", n)
            if arm.diversity is not None and not config.serving.diversity_by:
                yield (*place, "diversity"), "has no effect without serving.diversity_by: set that, or delete this"
            if arm.prerank is not None and not config.serving.prerank:
                yield (*place, "prerank"), "has no effect without serving.prerank: set that, or delete this"
    held_out = config.holdout
    if held_out.share and not config.experiments:
        yield ("holdout", "share"), "has no effect: there are no [[experiments]]. Add one, or delete it"
    if not held_out.share and held_out.salt != type(held_out)().salt:
        yield ("holdout", "salt"), "has no effect: nobody is held out. Set share, or delete it"
