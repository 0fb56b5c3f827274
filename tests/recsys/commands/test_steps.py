from io import StringIO

from rich.console import Console

from recsys.commands.output.steps import steps


def shown(console: Console) -> None:
    with steps(console, total=3, done=1) as step:
        step.doing("IPS [right]")
        step.advance()
        step.doing("DR")


def test_each_step_is_a_line_where_there_is_no_terminal() -> None:
    out = StringIO()
    shown(Console(file=out, markup=False))
    assert out.getvalue() == "2 of 3: IPS [right]\n3 of 3: DR\n"


def test_a_terminal_shows_one_bar() -> None:
    out = StringIO()
    shown(Console(file=out, markup=False, force_terminal=True, width=80))
    assert "3 of 3" not in out.getvalue()
    assert "2/3" in out.getvalue()
    assert "DR" in out.getvalue()
