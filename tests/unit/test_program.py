"""Programs travel as source or as a module's name; the rest is refused before any work."""

from pathlib import Path

import pytest

from harpy.errors import ConfigError
from harpy.program.source import resolve_program


def top_level(ctx):
    return 1


def test_module_reference_keeps_module_and_function():
    source = resolve_program("harpy.jobs.kmeans:main")
    assert (source.module, source.function, source.text) == ("harpy.jobs.kmeans", "main", None)


def test_function_of_a_script_travels_as_the_text_of_its_file():
    source = resolve_program(top_level)
    assert source.module is None
    assert source.function == "top_level"
    assert source.text == Path(__file__).read_text()


def test_file_defaults_to_main_and_digest_follows_the_content(tmp_path):
    program = tmp_path / "p.py"
    program.write_text("def main(ctx): return 1\n")
    first = resolve_program(program)
    program.write_text("def main(ctx): return 2\n")
    assert first.function == "main"
    assert resolve_program(program).digest != first.digest


def test_file_with_function_name(tmp_path):
    program = tmp_path / "p.py"
    program.write_text("def other(ctx): return 1\n")
    assert resolve_program(f"{program}:other").function == "other"


def test_nested_function_without_closure_travels_alone():
    def nested(ctx):
        return ctx.rank

    source = resolve_program(nested)
    assert source.text is not None
    assert source.text.startswith("def nested(ctx):")


def closure():
    outside = 3

    def program(ctx):
        return outside

    return program


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (lambda ctx: 1, "a lambda's source cannot be shipped"),
        (closure(), r"uses variables of the function around it \(outside\)"),
        ("nowhere.py", "no program at nowhere.py"),
        ("just_a_name", "program must be 'file.py'"),
        ("some/path.txt", "must end in .py"),
        (len, "must be a plain function"),
    ],
)
def test_what_cannot_travel_is_refused(program, message):
    with pytest.raises(ConfigError, match=message):
        resolve_program(program)


@pytest.mark.parametrize(
    ("text", "message"),
    [("def main(ctx:\n", "line 1"), ("def other(ctx): pass\n", "defines no 'main'")],
)
def test_file_that_cannot_run_is_refused(tmp_path, text, message):
    program = tmp_path / "p.py"
    program.write_text(text)
    with pytest.raises(ConfigError, match=message):
        resolve_program(program)
