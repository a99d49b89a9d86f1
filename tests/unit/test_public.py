"""The public face: names and the error tree."""

import inspect

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


ALL_ERRORS = [e for _, e in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_every_error_is_ours_and_a_builtin(error):
    assert issubclass(error, errors.HarpyError)
    if error is not errors.HarpyError:
        assert any(b.__module__ == "builtins" and b is not Exception for b in error.__mro__[:-3])


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_error_tree_is_drawn_in_the_docstring(error):
    assert error.__name__ in (errors.__doc__ or "")
