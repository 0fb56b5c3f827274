"""`recsys check` says whether the file is valid; settings that would have no effect are errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.commands.demo.ports import free_ports
from tests.serving.redis_servers import redis_server

MAPPING = '[[log.mapping]]\ncolumns = { time = "t", impression = "i", item = "x" }\n'


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ('[features.defaults]\nfallback = "multiplexed"\n', "line 2: features.defaults.fallback: "),
        ("[features.defaults]\nthreshold = 5\n", "line 2: features.defaults.threshold: has no effect while"),
        ("[features.tables.item]\nthreshold = 5\n", "line 2: features.tables.item.threshold: has no effect while"),
        ('[features.tables.item]\nadmission = "count"\n', "features.tables.item.admission: count has no effect"),
        ("[features.defaults]\nttl = '0s'\n", "line 2: features.defaults.ttl: must be greater than 0"),
        (
            "[features.defaults]\nttl = '1d'\n[features.tables]\nuser = {}\nitem = {}\n",
            "line 1: features.defaults: has no effect: every table has its own section",
        ),
        (
            "[[features.fields]]\nname = 'item'\nsource = 'item'\n"
            "[[features.fields]]\nname = 'age'\nsource = 'request.age'\nkind = 'numeric'\ntable = 'ages'\n",
            "line 8: features.fields, field 'age': table: field 'age' is numeric, and numbers have no rows",
        ),
        ("[model]\nmlp = []\nmlp_dropout = 0.1\n", "line 3: model.mlp_dropout: has no effect with mlp = []"),
        ("[model]\nname = 'fm'\nmlp = []\nmlp_dropout = 0.1\n", "line 4: model.mlp_dropout: has no effect"),
        ("[redis]\nurl = 'redis://h:1/0'\nfolder = 'x'\n", "line 3: redis.folder: has no effect"),
        ("[training]\nwait = '0s'\nlabels = 'held'\n", "line 3: training.labels: held has no effect"),
        ("[serving]\ntemperature = 2.0\n", "line 2: serving.temperature: 2.0 has no effect while exploration is none"),
        (
            "[serving]\nretrieve = 2001\n",
            "line 2: serving.retrieve: cannot retrieve 2001 candidates: 1000 popular and 1000 recent items",
        ),
        (
            "[[experiments]]\nname = 'x'\narms = [{ name = 'a' }]\n" * 2,
            "line 4: experiments, experiment 'x': there is another experiment 'x'",
        ),
        (MAPPING + "files = '*.xyz'\n", "log.mapping, mapping 1: *.xyz: the suffix .xyz is not supported"),
        (MAPPING + "files = '*.jsonl'\ndelimiter = ';'\n", "delimiter are for CSV and TSV; *.jsonl is jsonl"),
        (MAPPING + "files = '*.parquet.gz'\nquote = '|'\n", "quote are for CSV and TSV; *.parquet.gz is parquet"),
    ],
)
def test_a_setting_that_would_do_nothing_is_an_error(tmp_path: Path, settings: str, idle: str) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text(settings)
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 1
    assert idle in result.output


@pytest.mark.parametrize(
    "settings",
    [
        "",
        '[features.defaults]\nfallback = "multiplexed"\nadmission = "count"\nthreshold = 2\n',
        '[features.defaults]\nthreshold = 5\nadmission = "probabilistic"\n',
        "[features.defaults]\nttl = '1d'\n[features.tables.user]\n",
        "[features.tables]\nuser = {}\nitem = {}\n",
        "[serving]\nexploration = 'plackett_luce'\ntemperature = 2.0\n",
        "[training]\nwait = '0s'\n",
        *(MAPPING + f"files = '{files}'\n" for files in ("*", "a/*", "*.csv", "*.CSV.gz", "*.[ct]sv", "*.t?v")),
        MAPPING + "files = '*.xyz'\nformat = 'csv'\ndelimiter = ';'\n",
    ],
)
def test_settings_that_have_an_effect_are_valid(tmp_path: Path, settings: str) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text(settings)
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert (result.exit_code, result.output.count("\n")) == (0, 1), result.output


def test_a_group_by_a_feature_that_nothing_names_may_be_a_slip(tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text(
        "[serving]\nminimums = [\n"
        "{ feature = 'item.maker', value = 'small', share = 0.05 },\n"
        "{ feature = 'item.makr', value = 'small', share = 0.05 }]\n"
        "[[log.mapping]]\nfiles = '*.csv'\nkind = 'item'\n"
        "[log.mapping.columns]\nitem = 'i'\ntime = 't'\n'features.maker' = 'm'\n"
    )
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 0, result.output
    assert result.output.count("no field and no mapping has the feature") == 1
    assert "has the feature item.makr." in result.output


def test_a_redis_that_does_not_answer_is_named(tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text("[project]\nname = 'shop'\n[redis]\nurl = 'redis://127.0.0.1:1/0'\n")
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 0, result.output
    assert "redis: Error 111 connecting to 127.0.0.1:1" in result.output


def test_a_redis_behind_no_sentinel_is_told_how_to_be_named(tmp_path: Path) -> None:
    with redis_server(tmp_path, free_ports(1)[0]) as server:
        config = tmp_path / "recsys.toml"
        config.write_text(f"[redis]\nurl = 'redis+sentinel://127.0.0.1:{server.port}/shop'\n")
        result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 0, result.output
    assert "is a Redis, not a Sentinel: name the Sentinels" in result.output


def test_a_table_that_only_one_field_names_may_be_a_slip(tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    fields = "".join(
        f"[[features.fields]]\nname = '{name}'\nkind = '{kind}'\nsource = '{source}'\n{table}"
        for name, kind, source, table in (
            ("user", "categorical", "user", ""),
            ("item", "categorical", "item", ""),
            ("past", "multi", "user.recent(click, 5)", "table = 'itme'\n"),
            ("first", "categorical", "item.maker", "table = 'maker'\n"),
            ("second", "multi", "item.makers", "table = 'maker'\n"),
        )
    )
    config.write_text(fields)
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 0, result.output
    assert result.output.count("no other field has the table") == 1
    assert "field 'past': no other field has the table 'itme'" in result.output
    assert "(others: item, maker, user)" in result.output


@pytest.mark.parametrize("name", ["", "Shop", "a:b", "{a}", "x" * 41])
def test_a_project_has_a_name_that_keys_can_begin_with(tmp_path: Path, name: str) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text(f"[project]\nname = '{name}'\n")
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 1
    assert "cannot be a project: write up to 40 small letters" in result.output


def test_a_fallback_that_there_is_not_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text('[features.defaults]\nfallback = "ones"\n')
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 1
    assert "line 2: features.defaults.fallback: must be 'zeros' or 'multiplexed'" in result.output


@pytest.mark.parametrize(("named", "written"), [("new/deep/x.toml", "new/deep/x.toml"), ("", "recsys.toml")])
def test_init_makes_the_folder_and_takes_one(tmp_path: Path, named: str, written: str) -> None:
    result = CliRunner().invoke(main, ["init", str(tmp_path / named)])
    assert result.exit_code == 0
    assert CliRunner().invoke(main, ["check", "-c", str(tmp_path / written)]).exit_code == 0
    again = CliRunner().invoke(main, ["init", str(tmp_path / named)])
    assert f"{tmp_path / written} already exists" in again.output
    assert f"such as: recsys init {(tmp_path / written).with_name('new.toml')}" in again.output
    (tmp_path / written).write_text("")
    assert CliRunner().invoke(main, ["init", "--force", str(tmp_path / named)]).exit_code == 0
    assert (tmp_path / written).read_text()
