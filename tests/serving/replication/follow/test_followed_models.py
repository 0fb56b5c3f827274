"""Which model a server ranks with while another one becomes the champion."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from serving.model.loaded_model import LoadedModel
from serving.replication.follow.followed_models import FollowedModels
from serving.replication.keys import CHAMPION, ONLINE


class Loaders:
    """Makes loaders of models that a test loads."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, name: str) -> Any:
        self.made.append(name)
        return SimpleNamespace(name=name, current=None, refused="")


def following(*names: str, beside: tuple[str, ...] = ()) -> tuple[FollowedModels, Loaders]:
    make = Loaders()
    return FollowedModels(names, make, beside), make


def load(models: FollowedModels, name: str) -> None:
    models.loaders[name].current = cast(LoadedModel, SimpleNamespace(name=name))


def champion(models: FollowedModels) -> str | None:
    model = models.get(CHAMPION)
    return None if model is None else model.name


def test_until_a_promotion_online_is_the_champion() -> None:
    models, _ = following(CHAMPION)
    assert (list(models.loaders), models.missing, champion(models)) == ([ONLINE], {ONLINE: "not published yet"}, None)
    load(models, ONLINE)
    assert champion(models) == ONLINE


def test_the_champion_before_serves_until_the_new_one_is_loaded_and_stays_for_a_rollback() -> None:
    models, make = following(CHAMPION)
    load(models, ONLINE)
    assert models.crown("wide")
    assert (champion(models), list(models.missing)) == (ONLINE, ["wide"])
    load(models, "wide")
    assert champion(models) == "wide"
    assert not models.crown(ONLINE), "no other loader is needed"
    assert (champion(models), make.made) == (ONLINE, [ONLINE, "wide"])


def test_a_model_two_champions_ago_is_let_go() -> None:
    models, _ = following(CHAMPION)
    for name in (ONLINE, "wide", "deep"):
        models.crown(name)
        load(models, name)
    assert (list(models.loaders), champion(models)) == (["deep", "wide"], "deep")


def test_a_champion_that_never_loads_takes_nothing_from_the_one_before() -> None:
    """As when its graph is refused; then another one is promoted."""
    models, _ = following(CHAMPION)
    load(models, ONLINE)
    models.crown("broken")
    models.crown("wide")
    assert (champion(models), list(models.loaders)) == (ONLINE, [ONLINE, "wide"])


def test_a_server_that_starts_with_another_champion_serves_no_other_model() -> None:
    models, _ = following(CHAMPION)
    models.crown("wide")
    assert (list(models.loaders), champion(models)) == (["wide"], None)


def test_an_arm_that_names_a_model_keeps_it() -> None:
    models, _ = following(CHAMPION, ONLINE)
    models.crown("wide")
    load(models, ONLINE)
    load(models, "wide")
    found = models.get(ONLINE)
    assert found is not None
    assert (found.name, champion(models)) == (ONLINE, "wide")


def test_without_an_arm_for_the_champion_it_is_not_loaded() -> None:
    models, make = following("kept")
    assert not models.crown("wide")
    assert make.made == ["kept"]


def test_models_beside_are_loaded_and_not_missed() -> None:
    models, _ = following(CHAMPION, beside=("wide",))
    assert (list(models.loaders), list(models.missing)) == ([ONLINE, "wide"], [ONLINE])
    models.crown("wide")
    assert (list(models.loaders), list(models.missing)) == (["wide"], ["wide"])
