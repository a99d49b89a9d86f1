"""The public face: names, light import, the error tree and the command line's manners."""

import inspect
import subprocess
import sys

import pytest

import harpy
from harpy import errors


def test_public_names_are_pinned():
    assert harpy.__all__ == [
        "__version__",
        "Context",
        "DAALKMeans",
        "Dataset",
        "HarpyError",
        "RunResult",
        "Session",
        "dataset",
        "errors",
        "kmeans_path",
        "put",
    ]
    for name in harpy.__all__:
        assert getattr(harpy, name) is not None


def test_import_is_light():
    heavy = "sklearn", "pyarrow", "hdfs_native", "numpy", "rich", "click", "scipy"
    code = f"import harpy, sys; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


ALL_ERRORS = [e for _, e in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_every_error_is_ours_and_a_builtin(error):
    assert issubclass(error, errors.HarpyError)
    if error is not errors.HarpyError:
        assert any(b.__module__ == "builtins" and b is not Exception for b in error.__mro__[:-3])


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_error_tree_is_drawn_in_the_docstring(error):
    assert error.__name__ in (errors.__doc__ or "")


def harpy_command(*arguments, **env):
    return subprocess.run(
        [sys.executable, "-m", "harpy.cli", *arguments], capture_output=True, text=True, timeout=60
    )


def test_help_lists_every_command():
    out = harpy_command("--help")
    assert out.returncode == 0
    for name in ["clean", "cluster", "demo", "fetch", "jobs", "kill", "kmeans", "logs", "run"]:
        assert f"\n  {name}" in out.stdout


def test_mistyped_command_suggests_the_right_one():
    out = harpy_command("clutser")
    assert out.returncode == 2
    assert "cluster" in out.stderr
    assert out.stdout == ""


def test_program_that_is_not_there_is_one_line_on_stderr():
    out = harpy_command("run", "nowhere.py", "--launcher", "local")
    assert out.returncode == 2
    assert out.stderr.startswith("harpy: no program at nowhere.py")
    assert "Traceback" not in out.stderr
