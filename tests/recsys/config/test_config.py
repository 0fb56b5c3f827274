"""The configuration file: defaults, errors with their line and remedy."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from recsys.config.all_sections import ServingSection
from recsys.config.file import load, parse
from recsys.config.schema import Config
from recsys.config.sections.experiments import (
    ArmSection,
    ExperimentSection,
    GoalSection,
    GuardrailSection,
    HoldoutSection,
)
from recsys.config.sections.features import FieldSection, TableSection
from recsys.config.sections.learning.debiasing import DebiasingSection
from recsys.config.sections.learning.models import SECTIONS
from recsys.config.sections.learning.negatives import NegativesSection
from recsys.config.sections.learning.ssl import SslSection
from recsys.config.sections.learning.tasks import TaskSection
from recsys.config.sections.learning.training import TrainingSection
from recsys.config.sections.log import LogSection, MappingSection
from recsys.config.sections.section import Section
from recsys.errors import ConfigError
from recsys.wiring.learning import tables
from streaming.ingest.validation import Rules
from streaming.join.joiner import MAX_PENDING
from streaming.log.open_log import LOGS

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "recsys" / "recsys.toml"


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("recsys.toml"))
    return str(caught.value)


def test_the_template_is_exactly_the_defaults() -> None:
    assert load(TEMPLATE) == Config().rooted(TEMPLATE.parent)


GROUPS = "[serving]\nscore_by = 'request.plan'\n"


def blocks(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables of a template, with the settings that stand in comments as if they were set."""
    setting = re.compile(r"^# (?=\[|\w+ = |  \{|\])")
    lines = [setting.sub("", line) for line in text.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith("[")]
    for start, stop in pairwise([*starts, len(lines)]):
        name = lines[start].partition("#")[0].strip(" []")
        yield name, tomllib.loads("\n".join(lines[start + 1 : stop]))


def settings(text: str) -> dict[str, set[str]]:
    """The names in each table of a template; `[model]` has one for each model."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, table in blocks(text):
        found[f"model {table['name']}" if name == "model" else name] |= table.keys()
        for arm in table.get("arms", ()):
            found["experiments.arms"] |= arm.keys()
        for goal in table.get("goals", ()):
            found["experiments.goals"] |= goal.keys()
        for guardrail in table.get("guardrails", ()):
            found["experiments.guardrails"] |= guardrail.keys()
    return dict(found)


def test_exactly_the_settings_that_exist_are_in_the_template() -> None:
    tables: dict[str, type[Section]] = {
        name: type(section)
        for name, section in Config()
        if name not in ("model", "experiments", "holdout", "serving", "tasks")
    }
    tables |= {"serving": ServingSection, "holdout": HoldoutSection}
    tables |= {f"model {name}": section for name, section in SECTIONS.items()}
    tables |= {"log.mapping": MappingSection, "features.fields": FieldSection, "features.defaults": TableSection}
    tables |= {"experiments": ExperimentSection, "experiments.arms": ArmSection, "tasks": TaskSection}
    tables |= {"training.negatives": NegativesSection}
    tables |= {"experiments.goals": GoalSection, "experiments.guardrails": GuardrailSection}
    tables |= {"training.debiasing": DebiasingSection, "retrieval.ssl": SslSection, "training.ssl": SslSection}
    inner = {
        "training": {"negatives", "debiasing", "ssl"},
        "retrieval": {"ssl"},
        "log": {"mapping"},
        "features": {"fields", "defaults", "tables"},
    }
    inner["tune"] = {"settings"}
    expected = {name: section.model_fields.keys() - inner.get(name, set()) for name, section in tables.items()}
    expected["tune.settings"] = set(Config().tune.settings)
    assert settings(TEMPLATE.read_text()) == expected


def test_settings_in_comments_of_the_template_are_valid() -> None:
    kinds: dict[str, type[Section]] = {"log.mapping": MappingSection, "features.defaults": TableSection}
    kinds |= {"features.fields": FieldSection, "training": TrainingSection, "experiments": ExperimentSection}
    kinds |= {"tasks": TaskSection}
    seen = set()
    for name, table in blocks(TEMPLATE.read_text()):
        kind = SECTIONS[table["name"]] if name == "model" else kinds.get(name)
        if kind is not None:
            kind.model_validate(table)
            seen.add(kind)
    assert seen == {*kinds.values(), *SECTIONS.values()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[training]\nbatchsize = 3\n", "line 2: training.batchsize: unknown name; did you mean `batch_size`?"),
        ("[training]\n\nwait = 3\n", "line 3: training.wait: write a duration as a number and one of"),
        ("[serving]\nport = 70000\n", "line 2: serving.port: must be less than or equal to 65535, not 70000"),
        (
            "[[features.fields]]\nname='a'\nsource='user'\n[[features.fields]]\nname='b'\n",
            "line 4: features.fields, field 'b': source: is required",
        ),
        (
            "\n[log]\n[features.tables.usr]\nttl = '1d'\n",
            "line 3: features.tables.usr: no field reads this table; the tables are item, user",
        ),
        ("[redis]\nurl = 'http://x'\n", "line 2: redis.url: write redis://HOST:PORT/0"),
        (
            "[redis]\nprecision = 'fp16'\n",
            "line 2: redis.precision: must be 'float32', 'half' or 'int8', not \"fp16\"",
        ),
        (
            "[features.tables.user]\ndim = 17\n",
            "line 2: features.tables.user.dim: is more than features.dim = 16, that of the model's vectors",
        ),
        ("[features.defaults]\ndim = 8\n", "line 2: features.defaults.dim: is for single tables: write features.dim"),
        (
            "[features]\n[features.tables.user]\ndim = 8\n[features.tables.item]\ndim = 4\n",
            "features.dim: no table has rows of so many coordinates, the widest has 8: lower it, or widen a table",
        ),
        ("[[experiments]]\nname='x'\narms=[{name='a'},{name='a'}]\n", "two arms have the same name"),
        (
            "[[experiments]]\nname='x'\nstart='2026-03-02'\nend=2026-03-01\narms=[{name='a'}]\n",
            "experiments, experiment 'x': end must be after start, else nobody is ever in it",
        ),
        (
            "[[experiments]]\nname='x'\nstart='soon'\narms=[{name='a'}]\n",
            "line 3: experiments, experiment 'x': start: 'soon' is not an ISO 8601 time such as 2017-10-11",
        ),
        (
            "[[experiments]]\nname='x'\nramp='3d'\narms=[{name='a'}]\n",
            "'x': ramp has no effect without start: set start",
        ),
        ("[[experiments]]\nname='x'\nshare=0.0\narms=[{name='a'}]\n", "set its end"),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}]\n[holdout]\nshare=1.0\n",
            "line 5: holdout.share: is 1; it must be at least 0 and below 1, else no user is in any experiment",
        ),
        ("[holdout]\nshare=0.1\n", "line 2: holdout.share: has no effect: there are no [[experiments]]"),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}]\ngoals=[{name='g', kind='value', task='buy'}]\n",
            "line 4: experiments, experiment 'x': goals: there is no task 'buy'; the tasks are click",
        ),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}]\ngoals=[{name='g', kind='value'}]\n",
            'task: a value needs a task: add `task = "click"`, or another one',
        ),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}]\ngoals=[{name='g', kind='return', within='30m'}]\n",
            "goal 'g': within: of a return is more than",
        ),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}]\n"
            "goals=[{name='g', kind='return', within='1d', task='click'}]\n",
            "goal 'g': task: has no effect on a return",
        ),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}]\n"
            "goals=[{name='g', kind='conversion', within='1d', task='click'}]\n",
            "goal 'g': within: has no effect on a conversion: its task's wait says how long; delete it",
        ),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}]\n"
            "goals=[{name='g', kind='return', within='1d'}, {name='g', kind='return', within='2d'}]\n",
            "goals: two have the name 'g'; choose another",
        ),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}]\nguardrails=[{name='latency'}]\n",
            "line 4: experiments, experiment 'x': guardrails: have no effect with one arm",
        ),
        (
            "[[experiments]]\nname='x'\nguardrails=[{name='degraded'}]\n"
            "arms=[{name='a', model='popularity'}, {name='b', model='popularity'}]\n",
            "guardrails: 'degraded' has no data: all arms rank by popularity",
        ),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}, {name='b'}]\nguardrails=[{name='latency', alpha=0.9}]\n",
            "guardrail 'latency': alpha is 0.9; it must be above 0 and below 0.5",
        ),
        (
            "[[experiments]]\nname='x'\narms=[{name='a'}, {name='b'}]\n"
            "guardrails=[{name='latency'}, {name='latency'}]\n",
            "guardrails: one figure is watched twice",
        ),
        ("[[experiments]]\nname='x'\narms=[]\n", "line 1: experiments, experiment 'x': needs at least one arm"),
        ("[[experiments]]\nname='x'\narms=[{name='a', weight=0}]\n", "'x': weights must be positive"),
        ("[serving]\nretrieve = 50000\n", "choose 1 to 2000"),
        (
            "[[tasks]]\nname='click'\nactions=['a']\nwait='1d'\n",
            "line 2: tasks, task 'click': name: 'click' is the name of the task",
        ),
        (
            2 * "[[tasks]]\nname='b'\nactions=['a']\nwait='1d'\n",
            "line 6: tasks, task 'b': name: 'b' is the name of another task",
        ),
        ("[[tasks]]\nname='b'\nactions=[]\nwait='1d'\n", "line 3: tasks, task 'b': actions: "),
        ("[[tasks]]\nname='b'\nactions=['a']\n", "line 1: tasks, task 'b': wait: is required"),
        ("[serving]\nscore = { buy = 2.0 }\n", "line 2: serving.score: there is no task 'buy'; the tasks are click"),
        (
            "[[experiments]]\nname = 'ab'\narms = [{ name = 'a', score = { buy = 2.0 } }, { name = 'b' }]\n",
            "arm 'a': score: there is no task 'buy'; the tasks are click",
        ),
        ("[serving]\nscore = { click = 0.0 }\n", "line 2: serving.score: all weights are 0"),
        ("[serving]\nscore_by = 'request.plan'\n", "line 2: serving.score_by: has no effect without scores"),
        (f"{GROUPS}scores = {{ gold = {{ buy = 2.0 }} }}\n", "line 3: serving.scores.gold: there is no task 'buy'"),
        (f"{GROUPS}scores = {{ gold = {{ click = 0.0 }} }}\n", "line 3: serving.scores: all weights of 'gold' are 0"),
        ("[serving]\nscore_by = 'plan'\nscores = { a = { click = 2.0 } }\n", 'write "request.plan", or another'),
        (
            f"{GROUPS}scores = {{ a = {{ click = 2.0 }} }}\n[log]\nunknown_features = 'refuse'\n",
            "line 2: serving.score_by: has no effect: no field reads request.plan, and log.unknown_features",
        ),
        (
            "[serving]\nboosts = [{ feature = 'item.label', value = 'sale', times = 2.0 }]\n"
            "[log]\nunknown_features = 'refuse'\n",
            "feature: has no effect: no field reads item.label",
        ),
        (
            "[serving]\navailable_until = 'item.topic'\n[features]\n"
            "fields = [{ name = 'item', source = 'item' }, { name = 'topic', source = 'item.topic' }]\n",
            "line 2: serving.available_until: is a time in ms, and field 'topic' reads item.topic as categorical",
        ),
        ("[serving]\nscore = { click = nan }\n", "line 2: serving.score.click: "),
        ("[[features.fields]]\nname='a'\nsource='usr'\n", "line 1: features.fields, field 'a': source 'usr'"),
        ("[[features.fields]]\nname='a'\nsource='user'\n", "line 1: features: no field reads the item"),
        ("[model]\nunits = 5\n", "line 1: model: units = 5 is the width of all heads together"),
        (
            "[model]\nname = 'fm'\nunits = 4\n",
            'line 3: model: units is an option of autoint, not of fm: delete it, or write name = "autoint"',
        ),
        ("[model]\nlayrs = 4\n", "line 2: model.layrs: model 'autoint' has no such option; did you mean `layers`?"),
        (
            "\n[model]\nname = 'autoin'\n",
            "line 3: model.name: unknown model 'autoin'; choose one of autoint, fm, lr, dcn, finalmlp, mmoe, gated",
        ),
        ("[model]\nname = 'fm'\nmlp = [8, 0]\n", "line 3: model.mlp, value 2: must be greater than or equal to 1"),
        ("[model]\ndropout = 1.0\n", "line 2: model.dropout: must be less than 1, not 1.0"),
        ("model = 3\n", "line 1: model: must be a table with the options of a model, not 3"),
        ("[log\n", "line 1: not TOML"),
        (
            "\n[[log.mapping]]\n",
            "line 2: log.mapping, mapping 1: an event of kind 'interaction' needs time, impression, item: ",
        ),
        (
            "[log]\n[[log.mapping]]\nkind='impression'\ncolumns={time='t',user='u'}\n",
            "line 2: log.mapping, mapping 1: an event of kind 'impression' needs id, time, user, items: "
            'say in `columns` which columns are its id and items, such as `id = "NAME OF THE COLUMN"`',
        ),
        ("[[log.mapping]]\nkind='user'\n", "'user' needs time, user: "),
        ("[[log.mapping]]\nkind='item'\ncolumns={item='i'}\n", "'item' needs time, item: "),
        (
            "[[log.mapping]]\nkind='user'\ncolumns={time='t',user='u',tim='x'}\n",
            "line 1: log.mapping, mapping 1: an event of kind 'user' has no field 'tim'; did you mean 'time'?",
        ),
        (
            "[[log.mapping]]\nkind='user'\n[log.mapping.columns]\ntime='t'\nuser='u'\nfeatures.device='d'\n",
            'line 3: log.mapping, mapping 1: columns: TOML reads a name with a dot as a table: quote it, "features.dev',
        ),
        ("[trainig]\n", "line 1: trainig: unknown name; did you mean `training`?"),
        ("[log]\nurl = 'nats://host'\n", "line 2: log.url: log 'nats://host' has no known scheme: write file:PLACE"),
        (
            "[log]\nurl = 'kafka://host/clicks'\n",
            "line 2: log.url: log 'kafka://host/clicks' names no broker and topic; write such as kafka://127.0.0.1:9092",
        ),
        ("[log]\nmax_line = '3 parsecs'\n", "line 2: log.max_line: write a size"),
        ("[training]\nwait = '-5m'\n", "line 2: training.wait: a duration must not be negative"),
        ("[log]\nmax_line = '-1MiB'\n", "line 2: log.max_line: a size must not be negative"),
        ("[training]\npositive = []\n", "line 2: training.positive: must not be empty"),
        ("[serving]\nport = true\n", "line 2: serving.port: must be a whole number, not true"),
        ("[serving]\nport = '8000'\n", 'line 2: serving.port: must be a whole number, not "8000"'),
        ("[features]\ndim = 16.0\n", "line 2: features.dim: must be a whole number, not 16.0"),
        ("[model]\nmlp = [64, true]\n", "line 2: model.mlp, value 2: must be a whole number, not true"),
        ("[model]\nmlp = 64\n", "line 2: model.mlp: must be a list in [ ], not 64"),
        ("[model]\nwide = 1\n", "line 2: model.wide: must be true or false, not 1"),
        ("[training]\ndense_lr = '0.1'\n", 'line 2: training.dense_lr: must be a number, not "0.1"'),
        ("[training]\ndense_lr = true\n", "line 2: training.dense_lr: must be a number, not true"),
        ("[training]\ncheckpoints = 3\n", "line 2: training.checkpoints: must be a path in quotes, not 3"),
        ("[serving]\nhost = 127\n", "line 2: serving.host: must be text in quotes, not 127"),
        ("log = 3\n", "line 1: log: must be a table, not 3"),
        ("[serving]\nhst = 'x'\n", "line 2: serving.hst: unknown name; did you mean `host`?"),
        (
            "[serving]\ntemperature = 2.0\n",
            "line 2: serving.temperature: 2.0 has no effect while exploration is none",
        ),
        (
            "[serving]\nexploration = 'plackett_luce'\ntemperature = 1e-308\n",
            "line 3: serving.temperature: must be greater than or equal to 0.000001",
        ),
        ("[serving]\nshadow = ['wide', 'wide']\n", "line 2: serving.shadow: names 'wide' twice; delete one"),
        ("[serving]\nshadow = ['popularity']\n", "line 2: serving.shadow: model name 'popularity' cannot be used"),
        ("[training]\npublish_as = 'a b'\n", "line 2: training.publish_as: model name 'a b' cannot be used"),
        (
            "[serving]\nshares = { basket = 0.5 }\n",
            "line 2: serving.shares: basket has no effect without item_sets.feature",
        ),
        ("[item_sets]\nmined = true\n", "line 2: item_sets.mined: there is nothing to mine sets from without"),
        (
            '[item_sets]\nfeature = "item.x"\nmined = true\n',
            "line 3: item_sets.mined: sets are named",
        ),
        ('[item_sets]\nfeature = "recipes"\n', "line 2: item_sets.feature: 'recipes' is no feature of items"),
        (
            '[serving]\nengine = "onnxruntime"\nprecision = "bfloat16"\n',
            "line 3: serving.precision: onnxruntime computes in float32",
        ),
        (
            '[serving]\nengine = "numba"\nprecision = "bfloat16"\n',
            "line 3: serving.precision: numba has mixed instead",
        ),
        ('[serving]\nprecision = "mixed"\n', "line 2: serving.precision: only numba has mixed: set engine to numba"),
        ("[serving]\ndiversity = 0.5\n", "line 2: serving.diversity: has no effect without diversity_by"),
        ("[serving]\ndiversity_by = 'genres'\n", "line 2: serving.diversity_by: 'genres' is no feature of items"),
        (
            "[[experiments]]\nname='a'\narms=[{name='x', diversity=0.5}]\n",
            "line 3: experiments, experiment 'a': arms, arm 'x': diversity: has no effect without serving.diversity_by",
        ),
        (
            "[[experiments]]\nname='a'\narms=[{name='x', prerank=50}]\n",
            "line 3: experiments, experiment 'a': arms, arm 'x': prerank: has no effect without serving.prerank",
        ),
        ("[serving]\ndeadline = '0s'\n", "line 2: serving.deadline: must be greater than 0"),
        ("[rows]\nurl = ''\n", "line 1: rows: unknown name; did you mean `redis`?"),
        ("[serving]\nwait = '1h'\n", "line 2: serving.wait: unknown name; did you mean `wait` of [training]?"),
        ("[[features.fields]]\nsource='usr'\n", "line 1: features.fields, field 1: name: is required"),
        ("[model]\nname = fm\n", 'text needs quotes: "fm"'),
        ("[log]\nurl = file:run/log\n", 'text needs quotes: "file:run/log"'),
        ("[training]\nwait = 30m\n", 'text needs quotes: "30m"'),
        ("[training]\npositive = ['buy', click]\n", 'text needs quotes: "click"'),
        ("[model]\nname = 'fm\nmlp = []\n", 'line 2: not TOML: Expected "\'" (at end of document); the closing'),
        ('[model]\nname = "fm\nmlp = []\n', "; the closing quotation mark is missing"),
        ("[model]\nname = 'fm'\nmlp = [1\n", "line 3: not TOML: Unclosed array"),
        ("[training]\nsparse_lr = inf\n", "line 2: training.sparse_lr: must be a finite number, not inf"),
        ("[training]\nmin_value = nan\n", "line 2: training.min_value: must be a finite number, not nan"),
        ("[training]\nseed = 99999999999999999999\n", "line 2: training.seed: must be less than 9223"),
        ("[catalog]\nhalf_life = '0s'\n", "line 2: catalog.half_life: must be greater than 0, not "),
        (
            "[serving]\ncache_rows = 1\n",
            "line 2: serving.cache_rows: must be greater than or equal to 2, not 1",
        ),
        (
            "[features.defaults]\ncapacity = 2147483648\n",
            "line 2: features.defaults.capacity: must be less than 2147483648, not 2147483648",
        ),
        (
            "[features.defaults]\ncapacity = 1073741823\ncold_capacity = 2\n",
            "line 3: features.defaults.cold_capacity: must be less than 2147483648 less twice the capacity, not 2",
        ),
        (
            "[training]\nworkers = 2\n[features.tables.user]\ncold_capacity = 9\n",
            "line 4: features.tables.user.cold_capacity: needs training.workers = 1",
        ),
        (
            "[training]\nbatch_size = 512\n[features.tables.user]\ncapacity = 511\ncold_capacity = 9\n",
            "line 4: features.tables.user.capacity: a batch of training.batch_size = 512 rows has up to 512 ids of",
        ),
        (
            "[features.defaults]\ncapacity = 9\ncold_capacity = 9\n",
            "line 2: features.defaults.capacity: a batch of training.batch_size = ",
        ),
        (
            "[training]\ncheckpoint_url = 's4://bucket/path'\n",
            "line 2: training.checkpoint_url: s4:// is unknown, write s3, gs, abfs,",
        ),
        (
            "[training]\ncheckpoint_url = 'ftpz://x/y'\n",
            "line 2: training.checkpoint_url: ftpz:// is unknown, write ftp://",
        ),
        (
            "[training]\ncheckpoint_every = '2s'\n",
            'line 2: training.checkpoint_every: counts steps of training, not time: write a whole number, not "2s"',
        ),
        (
            "[training]\ncheckpoint_url = 'quux://bucket/path'\n",
            "line 2: training.checkpoint_url: quux:// is unknown, write s3, gs, abfs, hdfs, file or another that",
        ),
        (
            "[features.defaults]\nadmission = 'count'\nthreshold = 256\n",
            "line 3: features.defaults.threshold: must be 1 to 255 with admission count, not 256",
        ),
        (
            "[[features.fields]]\nname='a'\nsource='item'\ntable='fallback.16'\n",
            "line 4: features.fields, field 'a': table: names that begin with fallback. are reserved",
        ),
    ],
)
def test_an_error_names_the_line_and_the_remedy(text: str, expected: str) -> None:
    assert expected in problem(text)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("impression", ("id", "time", "user", "items")),
        ("interaction", ("time", "impression", "item")),
        ("user", ("time", "user")),
        ("item", ("time", "item")),
    ],
)
def test_a_mapping_of_what_the_kind_needs_is_enough(kind: str, columns: tuple[str, ...]) -> None:
    inner = ", ".join(f'{name} = "a column"' for name in columns)
    config = parse(f"[[log.mapping]]\nkind = '{kind}'\ncolumns = {{{inner}}}\n", Path("recsys.toml"))
    assert tuple(config.log.mapping[0].columns) == columns


def test_the_folder_of_the_log_is_answered_with_its_url() -> None:
    assert 'line 2: log.folder: is a URL now: write url = "file:my/log"' in problem('[log]\nfolder = "my/log"')


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_write_into_a_folder_of_their_own_that_git_ignores(path: Path) -> None:
    config = load(path)
    folder = ROOT / "run" / path.stem
    paths = (
        Path(config.log.url.removeprefix("file:")),
        config.log.dead_letters,
        config.redis.folder,
        config.training.checkpoints,
    )
    assert [written.resolve().parent for written in paths] == [folder] * 4


@pytest.mark.parametrize("precision", ["float32", "half", "int8"])
def test_rows_in_redis_may_have_any_of_these_precisions(precision: str) -> None:
    assert parse(f"[redis]\nprecision = '{precision}'\n", Path("recsys.toml")).redis.precision == precision


def test_the_template_with_another_model_is_one_problem_that_says_whose_the_options_are() -> None:
    wrong = problem(TEMPLATE.read_text().replace('name = "autoint"', 'name = "fm"'))
    assert "\n" not in wrong
    listed = "form, layers, heads, units, wide, residual, dropout and embedding_dropout"
    assert f'model: {listed} are options of autoint, not of fm: delete them, or write name = "autoint"' in wrong


def test_all_problems_are_reported_at_once() -> None:
    assert problem("[training]\nseeed = 1\nkeep = 1\n").count("\n") == 1


def test_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text("[log]\nurl = 'file:events'\n")
    log = load(tmp_path / "recsys.toml").log
    assert log.url == f"file:{tmp_path.resolve() / 'events'}"
    assert log.source_offsets == tmp_path.resolve() / "events" / "sources"


def test_the_defaults_of_the_stream_are_those_of_the_configuration() -> None:
    config = Config()
    assert Rules() == Rules(max_future=config.log.max_future, max_line=config.log.max_line)
    assert config.training.max_pending == MAX_PENDING


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recsys init"):
        load(tmp_path / "none.toml")


def test_a_file_that_is_no_text_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "recsys.toml"
    path.write_bytes(b"[log]\n\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"recsys\.toml: line 3: is not UTF-8 text"):
        load(path)


def test_logs_of_another_scheme_have_their_own_source_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is taken from the file's folder, a host is left as it is; two logs never share offsets."""
    monkeypatch.setitem(LOGS, "toy", LOGS["file"])

    def log(url: str) -> LogSection:
        (tmp_path / "recsys.toml").write_text(f"[log]\nurl = '{url}'\n")
        return load(tmp_path / "recsys.toml").log

    assert log("toy:run/log.db").url == f"toy:{tmp_path.resolve() / 'run' / 'log.db'}"
    assert log("toy://host/events").url == "toy://host/events"
    offsets = [log(f"toy://host/{topic}").source_offsets for topic in ("events", "events", "others")]
    assert offsets[0] == offsets[1] != offsets[2]
    assert {path.parent for path in offsets} == {tmp_path.resolve() / "run"}


def test_the_norm_of_a_rows_gradient_reaches_every_table() -> None:
    assert {table.optimizer.max_norm for table in tables(parse("[training]\nmax_norm = 0.5\n", TEMPLATE))} == {0.5}
    assert {table.optimizer.max_norm for table in tables(Config())} == {None}
    assert "training.max_norm: must be greater than 0" in problem("[training]\nmax_norm = 0.0\n")


def test_tables_may_have_shared_rows_alone() -> None:
    text = '[features.defaults]\nadmission = "never"\nfallback = "multiplexed"\nshared_rows = 100\n'
    assert {(table.admission.kind, table.fallback_rows) for table in tables(parse(text, TEMPLATE))} == {("never", 100)}
    assert "set fallback" in problem('[features.defaults]\nadmission = "never"\n')
    assert "shared_rows: has no effect" in problem("[features.defaults]\nshared_rows = 100\n")
    assert "threshold: has no effect" in problem(text + "threshold = 2\n")


def test_the_penalty_of_rows_reaches_every_table() -> None:
    assert {table.optimizer.l2 for table in tables(parse("[training]\nl2 = 0.1\n", TEMPLATE))} == {0.1}
    assert {table.optimizer.l2 for table in tables(Config())} == {0.0}
    assert "training.l2: must be greater than or equal to 0" in problem("[training]\nl2 = -0.1\n")
    assert "training.l2: needs workers = 1" in problem("[training]\nl2 = 0.1\nworkers = 2\n")


def test_how_few_workers_go_on_is_for_several() -> None:
    assert "training.min_workers: has no effect with one worker" in problem("[training]\nmin_workers = 1\n")
    assert "is more than workers = 2" in problem("[training]\nworkers = 2\nmin_workers = 3\n")
    assert parse("[training]\nworkers = 4\nmin_workers = 2\n", TEMPLATE).training.min_workers == 2


def test_checkpoints_of_what_changed_are_for_one_worker() -> None:
    assert "training.increments: needs workers = 1" in problem("[training]\nincrements = 3\nworkers = 2\n")


def test_how_long_events_are_kept_is_for_logs_in_files() -> None:
    assert parse('[log]\nkeep = "30d"\n', TEMPLATE).log.keep == 30 * 86_400_000
    wrong = problem('[log]\nurl = "kafka://a:1/b"\nkeep = "30d"\n')
    assert "log.keep: is for a log in files: delete it; " in wrong
    assert "retention.ms" in wrong


FIELDS = (
    'fields = [{ name = "item", source = "item" }, { name = "n", kind = "numeric", source = "item.rate(click, 1h)" }]'
)
ARMS = "[[experiments]]\nname = 'a'\narms = [{ name = 'x' }, { name = 'y', weight = 1e-30 }]\n"
WITHOUT_EFFECT = {
    "[item_to_item]\nwindow = '2d'\n": "item_to_item.window: has no effect while enabled is false",
    "[item_to_item]\nenabled = true\n": "item_to_item.enabled: has no effect: item_to_item and history have no share",
    "[serving]\nshares = { history = 1.0 }\n": "shares: history has no effect while item_to_item.enabled is false",
    "[item_sets]\nmembers = 9\n": "item_sets.members: has no effect without feature",
    "[item_sets]\nfeature = 'item.a'\n": "item_sets.feature: has no effect: basket has no share",
    "[retrieval]\ntwo_tower = true\n[serving]\nshares = { recent = 1.0 }\n": "retrieval.two_tower: has no effect",
    "[retrieval]\ntwo_tower = true\nnegatives = 0\npool = 9\n": "retrieval.pool: has no effect without negatives",
    f"[features]\n{FIELDS}\n[retrieval]\ntwo_tower = true\n": "retrieval.two_tower: needs a field of the user",
    "[features]\ncounted = 9\n": "features.counted: has no effect: the stream computes no field",
    "[training]\ncold_folder = 'x'\n": "training.cold_folder: has no effect: no table has a cold_capacity",
    "[training]\nkeep_run = '1s'\n": "training.keep_run: is less than the minute in which servers leave a run",
    "[holdout]\nsalt = 'x'\n": "holdout.salt: has no effect: nobody is held out",
    ARMS: "arm 'y' gets less than one user in a billion",
}


@pytest.mark.parametrize(("text", "message"), WITHOUT_EFFECT.items())
def test_a_setting_that_does_nothing_beside_the_others_is_an_error(text: str, message: str) -> None:
    assert message in problem(text)


def test_two_towers_do_not_read_what_changes_of_an_item_with_time() -> None:
    fields = FIELDS.replace("[{", '[{ name = "user", source = "user" }, {')
    assert "cannot read item.rate(click, 1h): it changes with time" in problem(
        f"[features]\n{fields}\n[retrieval]\ntwo_tower = true\n"
    )


COLUMNS = "columns = { time = 't', impression = 'i', item = 'x' }\n"
MAPPING = f"[[log.mapping]]\nkind = 'interaction'\n{COLUMNS}"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("seed = 3", "seed: has no effect on an event of kind 'interaction', it is for feedback"),
        ("negatives_within = '2h'", "negatives_within: has no effect on an event of kind 'interaction'"),
        ("label_separator = '-'", "label_separator: has no effect on an event of kind 'interaction'"),
        ("separator = ';'", "separator: has no effect on an event of kind 'interaction'"),
        ("anonymous = 'request'", "anonymous: has no effect on an event of kind 'interaction'"),
        ("repeated_items = 'last'", "repeated_items: has no effect on an event of kind 'interaction'"),
        ("positive_values = ['1']", "positive_values: has no effect without a column for actions.NAME or available"),
        ("interval = '2s'", "interval: has no effect without start"),
        ("where = { a = [] }", "where: no row has one of no values in 'a'"),
    ],
)
def test_an_option_that_says_nothing_of_such_rows_is_an_error(option: str, message: str) -> None:
    assert message in problem(f"{MAPPING}{option}\n")


@pytest.mark.parametrize(
    ("first", "second"), [("*.csv", "clicks.csv"), ("*.csv", "a/*.csv"), ("*s.csv", "*clicks.csv")]
)
def test_a_mapping_behind_a_wider_one_is_an_error(first: str, second: str) -> None:
    wide, narrow = (f"{MAPPING}files = '{pattern}'\n" for pattern in (first, second))
    assert f"the mapping of {second!r} is never used, because the one of {first!r}" in problem(wide + narrow)
    assert len(parse(narrow + wide, TEMPLATE).log.mapping) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[serving]\nminimums = [{ feature = 'category', value = 'a', share = 0.1 }]",
            "must be a feature of items, written with `item.` before its name, not",
        ),
        ("[[features.fields]]\nname = '1st'\nsource = 'item'", "must be letters, digits and _, and begin with no"),
        ("[training]\nmetrics = '9100'", 'must be HOST:PORT, such as 127.0.0.1:9100, not "9100"'),
        ("[[tasks]]\nname = 'a b'\nactions = ['b']\nwait = '1m'", "must be letters of English, digits, _ and -"),
        (
            "[[serving.api_keys]]\nname = '-'\nscopes = ['rank']\nsha256 = '" + 64 * "0" + "'",
            "must be letters of English, digits, ., _ and -, begin with a letter or digit",
        ),
    ],
)
def test_a_text_of_another_form_is_told_the_form_in_words(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        parse(text, Path("recsys.toml"))
    assert "^" not in str(error.value)
