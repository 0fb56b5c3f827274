"""`python -m benchmarks NAME [--quick] [--save]`: the table for people, then one line of JSON for machines."""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import benchmarks
from benchmarks import _table
from benchmarks.harness import ROOT, Result, commit

SHARED = {"__main__", "harness"}


def names() -> list[str]:
    """Every module of this package that is a benchmark; a name that starts with `_` is a helper."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name for name in found if name not in SHARED and not name.startswith("_"))


def show(result: Result) -> None:
    for target in result.targets:
        sign = ">=" if target.better == "higher" else "<="
        verdict = "met" if target.met else "MISSED"
        print(f"{target.what:<60} {target.value:>14,.4g}  {sign} {target.target:<12,.4g} {verdict}")
    print(result.line())


def _measured(parser: argparse.ArgumentParser, module: ModuleType, options: argparse.Namespace) -> Result:
    given = {} if options.events is None else {"events": options.events}
    if unknown := given.keys() - inspect.signature(module.run).parameters.keys():
        parser.error(f"{options.name} has no option --{' or --'.join(unknown)}")
    result: Result = module.run(quick=options.quick, **given)
    return replace(result, options=given)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=names(), help="what to measure")
    parser.add_argument("--quick", action="store_true", help="a smaller input, seconds instead of minutes")
    parser.add_argument("--save", action="store_true", help="write the result to docs/results/NAME.PROCESSOR.json")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results", help="folder for --save")
    parser.add_argument("--events", type=int, help="chaos: how many events, of its kind, are appended")
    options = parser.parse_args(arguments)
    if options.save and commit().endswith("+"):
        parser.error("commit your changes first: a saved result names the commit that was measured")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the benchmark's processes, too
    module = importlib.import_module(f"benchmarks.{options.name}")
    result = _measured(parser, module, options)
    if options.save:
        print(f"saved {result.save(options.results)}")
        if hasattr(module, "plot"):
            (options.results / f"{options.name}.svg").write_text(module.plot(result.raw))
        _table.write()
    if options.quick:
        print("A quick run on small input, against the targets of the full one:")
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
