"""The public face: names and the error tree."""

import inspect
import re

import pytest

import harpy
from harpy import errors
from harpy.cli import commands
from tests.support import ROOT


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


ALL_ERRORS = [e for _, e in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_every_error_is_ours_and_a_builtin(error):
    assert issubclass(error, errors.HarpyError)
    if error is not errors.HarpyError:
        assert any(b.__module__ == "builtins" and b is not Exception for b in error.__mro__[:-3])


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_error_tree_is_drawn_in_the_docstring(error):
    assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError, 2),
        (errors.DataError, 2),
        (errors.StorageError, 3),
        (errors.LaunchError, 4),
        (errors.GangError, 5),
        (errors.RunError, 6),
        (errors.JobKilled, 7),
        (errors.JobNotFound, 8),
        (errors.ClusterError, 9),
    ],
)
def test_exit_codes_are_those_of_the_readme(error, code):
    assert {kind.exit_code for kind in ALL_ERRORS if issubclass(kind, error)} == {code}
    assert commands.INTERRUPTED == 130


def test_the_readme_names_errors_that_there_are():
    section = (ROOT / "README.md").read_text().split("## When it fails")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.M)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert len(named) > 15
    for name in named:
        assert issubclass(getattr(errors, name), errors.HarpyError)
