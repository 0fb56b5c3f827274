"""The models of all groups as an artefact and rows for servers."""

from __future__ import annotations

from xxhash import xxh3_64

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.search.ihas.ihas_study import IhasStudy
from recsys.search.ihas.routed_model import RoutedModel
from recsys.search.ihas.served_rows import ServedRows
from recsys.training.export.graph_tracing import traced
from recsys.training.export.serving_graph import GraphShape
from serving.model.artefact import RANKER, Artefact
from serving.replication.publish.publisher import Publisher


def check_publishable(config: Config, name: str, groups: int) -> None:
    """Raise InvalidValueError if there is no such number of groups, or `name` is that of what a trainer publishes."""
    if groups not in config.ihas.groups:
        raise InvalidValueError(f"[ihas] groups has no {groups}: choose one of {config.ihas.groups}")
    if name == config.training.publish_as:
        raise InvalidValueError(f"{name!r} is what the trainer publishes: choose another name")


def published(study: IhasStudy, groups: int, publisher: Publisher) -> int:
    """Publish the models of `ihas GROUPS` in place of the publisher's model, which stays for a while, as a run
    that was replaced does; returns the number of rows."""
    artefact, rows = served(study, groups)
    publisher.publish_whole(rows.delta(), artefact, "searched anew")
    return sum(len(table.ids_U) for table in rows.tables.values())


def served(study: IhasStudy, groups: int) -> tuple[Artefact, ServedRows]:
    """The graph and the rows of gates, router and models of `ihas GROUPS`.

    Raises InvalidValueError if the gates keep nothing of any row.
    """
    members, net = study.fitted(groups), study.gated.net
    if not any(bool(member.mask_FK.any()) for member in members):
        raise InvalidValueError(
            "the gates keep no coordinate of any field, so that all items would score alike: search again with a lower "
            "[ihas] sparsity"
        )
    rows = ServedRows.of(study.space, net, members)
    model = RoutedModel(study.gated.gates, study.grouping(groups), members, rows).eval()
    spec, tasks = wiring.spec(study.config), [task.name for task in wiring.tasks(study.config)]
    graph = traced(model, GraphShape.of(spec, rows.dim, len(tasks))).SerializeToString(deterministic=True)
    artefact = Artefact(
        version=version(groups, graph, rows),
        step=0,
        time=study.parts.training.now,
        dims=rows.dims,
        graphs={RANKER: bytes(graph)},
        spec=spec,
        scaling=study.space.scaling,
        tasks=tuple(tasks),
    )
    return artefact, rows


def version(groups: int, graph: bytes, rows: ServedRows) -> str:
    """Another one for another search: the log of what servers ranked names models by it."""
    content = xxh3_64(graph)
    for table in rows.tables.values():
        content.update(table.ids_U.tobytes())
        content.update(table.values_UD.tobytes())
    return f"ihas-{groups}-{content.hexdigest()}"
