"""`recsys init` and `recsys check`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click

from recsys import wiring
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import InvalidValueError, RecsysError, file_errors
from streaming.windows.streamed_source import IMPRESSION

TEMPLATE = Path(__file__).parents[2] / "recsys.toml"


def init(path: Path, *, force: bool = False) -> None:
    with file_errors("the configuration", path):
        path = free_path(path, force=force)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEMPLATE.read_text())
    click.echo(f"Wrote {path}. Describe your events in [features] and [training], then run: recsys check")


def free_path(path: Path, options: str = "", *, force: bool = False) -> Path:
    """Where the configuration is written: the path, or in it if it is a folder. Raises InvalidValueError if taken,
    unless it is to be written over by `force`."""
    if path.is_dir():
        path = path / TEMPLATE.name
    if path.exists() and not force:
        other = shlex.quote(str(path.with_name("new.toml")))
        raise InvalidValueError(
            f"{path} already exists; name another file, such as: recsys init {other}{options}, or write over it with "
            "--force"
        )
    return path


def check(path: Path) -> None:
    config = load(path)
    click.echo(f"{path} is valid: {len(config.features.fields)} fields, model {config.model.name}.")
    _show_log(config)
    _show_redis(config)
    for notes in (_unnamed_actions, _unnamed_features, _lonely_tables, _unusable_checkpoints):
        for note in notes(config):
            click.secho(note, fg="yellow")


def _show_log(config: Config) -> None:
    try:
        if sentence := wiring.inspected_log(config):
            click.echo(f"log: {sentence}.")
    except RecsysError as error:
        click.secho(f"log: {error}", fg="yellow")


def _show_redis(config: Config) -> None:
    """What the configured Redis is set to do; an embedded one has settings of ours."""
    if not config.redis.url or find_spec("redis") is None:
        return
    import redis

    from serving.replication.connection.server_settings import inspect, warnings

    try:
        with wiring.redis_client(config, timeout=2.0) as client:
            found = inspect(client)
    except (redis.RedisError, RecsysError) as error:
        click.secho(f"redis: {error}", fg="yellow")
        return
    for one in found:
        click.echo(f"redis: {one}.")
    for warning in warnings(found):
        click.secho(f"redis: {warning}.", fg="yellow")


def _unnamed_actions(config: Config) -> Iterator[str]:
    """Fields of an action that the configuration names nowhere else: it may be a slip, or come from JSON lines."""
    of_columns = (name.partition("actions.")[2] for mapping in config.log.mapping for name in mapping.columns)
    named = {action for task in wiring.tasks(config) for action in task.rule.actions} | {IMPRESSION, *of_columns}
    for mapping in config.log.mapping:
        values = mapping.where.get(str(mapping.columns.get("action")), [])
        named.update([values] if isinstance(values, str) else values)
    known = ", ".join(sorted(named - {"", IMPRESSION}))
    for field in wiring.spec(config).fields:
        if field.streamed is not None and field.streamed.action not in named:
            yield (
                f"features.fields, field {field.name!r}: no task and no mapping names the action "
                f"{field.streamed.action!r} (they name: {known}). The field says nothing unless events have it"
            )


def _unnamed_features(config: Config) -> Iterator[str]:
    """Features of items that groups go by and that the configuration names nowhere else."""
    named = {field.source for field in config.features.fields}
    for mapping in config.log.mapping:
        of_items = "features." if mapping.kind == "item" else "item_features."
        named |= {f"item.{name.removeprefix(of_items)}" for name in mapping.columns if name.startswith(of_items)}
    for group in config.serving.minimums:
        if group.feature not in named:
            yield (
                f"serving.minimums: no field and no mapping has the feature {group.feature}. The group has no items "
                "unless item updates have it"
            )


def _lonely_tables(config: Config) -> Iterator[str]:
    """Tables that a field names, and no other has: it may be a slip."""
    fields = wiring.spec(config).sparse
    for field in fields:
        others = sorted({other.table for other in fields if other is not field})
        settled = {field.name, *others, *config.features.tables}
        if field.table not in settled:
            yield (
                f"features.fields, field {field.name!r}: no other field has the table {field.table!r}, so its rows are "
                f"its own (others: {', '.join(others) or 'none'}). To share rows name one of these, else delete it"
            )


def _unusable_checkpoints(config: Config) -> Iterator[str]:
    """Why training could not go on from the newest checkpoint, or from any, if there are some that can be read here."""
    if find_spec("safetensors") is None:
        return
    from embedding.snapshot.format import check_tables
    from recsys.training.checkpoint.checkpoints import Checkpoints
    from recsys.training.checkpoint.manifest import check_manifest
    from recsys.training.checkpoint.unusable import unusable
    from recsys.training.description import Description

    tasks = [task.name for task in wiring.tasks(config)]
    present = Description.configured(
        wiring.spec(config), config.model, config.features.dim, tasks, config.retrieval.description
    )
    tables = {table.name: table for table in wiring.tables(config)}
    folder = config.training.checkpoints
    for newest in reversed(Checkpoints(folder).all()):
        try:
            check_manifest(newest)
        except RecsysError as error:
            yield f"training.checkpoints: {newest} is damaged: {error}"
            continue
        try:
            present.check(Description.read(newest / "rank-0" / "dense.safetensors"), folder)
            check_tables(newest / "rank-0" / "rows", tables, config.training.seed)
        except RecsysError as error:
            yield f"training.checkpoints: {unusable(newest, error)}"
        return
    if any(Checkpoints(folder).all()):
        yield (
            f"training.checkpoints: no checkpoint in {folder} can be resumed from: restore one from a copy, or move "
            "the folder away to train from the beginning of the log"
        )
