"""`recsys evaluate`: judge what was fitted on rows that it was not fitted to."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from recsys import wiring
from recsys.commands.options.iso_time import parse_time
from recsys.commands.options.output_folder import check_out
from recsys.commands.output.fit_tables import evaluation_table
from recsys.commands.output.terminal import READING, plain_console, say
from recsys.config.file import load
from recsys.errors import file_errors
from recsys.fit.attention_plot import attention_plot
from recsys.fit.fitted_figures import Part, evaluate


def run(path: Path, *, part: Part, until: str | None, out: Path) -> None:
    """Print the figures and write them into `evaluation.json` in the folder `out`."""
    config = load(path)
    wiring.set_threads(config)
    console = plain_console()
    check_out(out)
    end = parse_time(until, "--until") if until else None
    with closing(wiring.event_log(config)) as log, console.status(READING):
        result = evaluate(config, log, part=part, until=end)
    console.print(evaluation_table(result))
    file = out / "evaluation.json"
    with file_errors("the results (--out)", out):
        out.mkdir(parents=True, exist_ok=True)
        file.write_bytes(result.to_json())
    say(console, f"Figures: {file}")
    if result.attention is not None:
        plot = out / "attention.svg"
        with file_errors("the plot (--out)", out):
            plot.write_text(attention_plot(result.attention))
        say(console, f"What fields attend to: {plot}")
