"""DAALKMeans refuses what is wrong in scikit-learn's words, before anything is started."""

from __future__ import annotations

import inspect
import re
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils._param_validation import validate_parameter_constraints

import harpy.estimators.session
from harpy import DAALKMeans
from harpy.errors import DataError

X = np.random.default_rng(0).normal(size=(30, 3))


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        pytest.fail("a session was made before the input was validated")

    monkeypatch.setattr(harpy.estimators.session, "Session", refuse)


def fit_error(kind: type[Exception], parameters: dict[str, Any], data: Any = X) -> str:
    with pytest.raises(kind) as caught:
        DAALKMeans(**parameters).fit(data)
    return str(caught.value)


def test_signature_keeps_the_promised_names_order_and_defaults() -> None:
    parameters = list(inspect.signature(DAALKMeans).parameters.values())
    positional = [
        (p.name, p.default) for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert positional == [
        ("n_clusters", 10),
        ("max_iter", 10),
        ("init", "random"),
        ("n_init", 1),
        ("n_node", 1),
        ("n_thread", 8),
        ("n_mem", 10240),
        ("workdir", "/kmeans-work"),
    ]
    keyword = [(p.name, p.default) for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    assert keyword == [
        ("tol", 1e-4),
        ("random_state", None),
        ("verbose", 0),
        ("algorithm", "lloyd"),
        ("copy_x", True),
        ("launcher", "auto"),
        ("queue", None),
        ("hadoop_conf", None),
        ("session", None),
        ("keep", False),
        ("progress", None),
    ]


def test_nothing_happens_before_fit() -> None:
    model = DAALKMeans(n_clusters=-1, n_node="many", workdir=3, launcher="moon")
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("name", ["n_clusters", "max_iter", "n_node", "n_thread", "n_mem"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None])
def test_counts_must_be_positive_integers(name: str, value: Any) -> None:
    assert fit_error(ValueError, {name: value}) == (
        f"The {name!r} parameter of DAALKMeans must be an int in the range [1, inf). "
        f"Got {value!r} instead."
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n_init", 0, "a str among {'auto'} or an int in the range [1, inf)"),
        ("n_init", "often", "a str among {'auto'} or an int in the range [1, inf)"),
        ("tol", -1e-9, "a float in the range [0"),
        ("tol", "small", "a float in the range [0"),
        ("workdir", None, "an instance of 'str'"),
        ("random_state", -1, "an int in the range [0, 4294967295], an instance of"),
        ("random_state", "x", "an int in the range [0, 4294967295], an instance of"),
        ("verbose", -1, "an int in the range [0, inf), an instance of 'bool' or"),
        ("copy_x", "yes", "an instance of 'bool' or"),
        ("queue", 3, "an instance of 'str' or None"),
        ("hadoop_conf", "a=b", "an instance of 'collections.abc.Mapping' or None"),
        ("session", "mine", "an object implementing 'run' or None"),
        ("keep", None, "an instance of 'bool' or"),
        ("progress", "bar", "an instance of 'bool'"),
    ],
)
def test_other_values_must_be_of_their_kind(name: str, value: Any, expected: str) -> None:
    message = fit_error(ValueError, {name: value})
    assert message.startswith(f"The {name!r} parameter of DAALKMeans must be {expected}")
    assert message.endswith(f"Got {value!r} instead.")


@pytest.mark.parametrize(
    ("name", "value", "choices"),
    [
        ("init", "best", {"k-means++", "k-means||", "random"}),
        ("algorithm", "macqueen", {"lloyd", "elkan"}),
        ("launcher", "spark", {"auto", "local", "yarn"}),
    ],
)
def test_choices_are_listed(name: str, value: str, choices: set[str]) -> None:
    message = fit_error(ValueError, {name: value})
    listed = re.search(r"must be a str among \{(.*?)\}", message)
    assert listed is not None
    assert {c.strip("' ") for c in listed[1].split(",")} == choices
    assert message.endswith(f"Got {value!r} instead.")


def test_a_value_that_was_valid_does_not_vouch_for_equal_ones_of_other_types() -> None:
    DAALKMeans(n_clusters=1, tol=1)._validate_params()
    message = fit_error(ValueError, {"n_clusters": 1.0})
    assert message.startswith("The 'n_clusters' parameter of DAALKMeans must be an int")
    assert "copy_x" in fit_error(ValueError, {"copy_x": 1.5})


def test_scikit_learns_switch_turns_the_look_at_parameters_off() -> None:
    with config_context(skip_parameter_validation=True):
        DAALKMeans(algorithm="full")._validate_params()
    assert "algorithm" in fit_error(ValueError, {"algorithm": "full"})


def test_defaults_are_valid_since_fit_does_not_look_at_them() -> None:
    validate_parameter_constraints(
        DAALKMeans._parameter_constraints, DAALKMeans().get_params(), caller_name="DAALKMeans"
    )


def test_a_subclass_may_constrain_parameters_of_its_own() -> None:
    class FuzzyKMeans(DAALKMeans):
        _parameter_constraints: ClassVar = {**DAALKMeans._parameter_constraints, "fuzz": [float]}

        def __init__(self, fuzz: Any) -> None:
            super().__init__()
            self.fuzz = fuzz

    with pytest.raises(ValueError, match="'fuzz' parameter of FuzzyKMeans must be an instance of"):
        FuzzyKMeans("much").fit(X)


def test_fewer_rows_than_clusters() -> None:
    assert fit_error(ValueError, {"n_clusters": 31}) == "n_samples=30 should be >= n_clusters=31."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.where(X[4, 1] == X, np.nan, X), "Input X contains NaN."),
        (np.where(X[4, 1] == X, np.inf, X), "Input X contains infinity or a value too large"),
        (X[:, 0], "Expected 2D array, got 1D array instead"),
        (X[None], "Found array with dim 3, while dim <= 2 is required by DAALKMeans."),
        (X[:0], "Found array with 0 sample(s) (shape=(0, 3)) while a minimum of 1 is required"),
        (X[:, :0], "Found array with 0 feature(s) (shape=(30, 0)) while a minimum of 1 is"),
        ([["a", "b"]] * 30, "could not convert string to float: 'a'"),
        (X.astype(complex), "Complex data not supported"),
    ],
)
def test_rows_that_cannot_be_clustered(data: Any, message: str) -> None:
    assert message in fit_error(ValueError, {"n_clusters": 2}, data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squares_that_overflow_name_the_column(dtype: type) -> None:
    data = X.astype(dtype)
    data[7, 2] = -np.finfo(dtype).max / 8
    message = fit_error(DataError, {"n_clusters": 2}, data)
    assert message.startswith("column 2 of X holds a value of magnitude ")
    assert f"squared distances would overflow {np.dtype(dtype).name}." in message


def test_squares_that_overflow_name_the_columns_name() -> None:
    pandas = pytest.importorskip("pandas", reason="column names come with data frames")
    frame = pandas.DataFrame(X, columns=["height", "weight", "age"])
    frame.loc[0, "weight"] = 1e200
    assert "column 1 ('weight') of X" in fit_error(DataError, {"n_clusters": 2}, frame)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (
            np.zeros((3, 3)),
            "The shape of the initial centers (3, 3) does not match the number of clusters 2.",
        ),
        (
            np.zeros((2, 2)),
            "The shape of the initial centers (2, 2) does not match the number of features of the "
            "data 3.",
        ),
    ],
)
def test_initial_centers_of_the_wrong_shape(init: np.ndarray, message: str) -> None:
    assert fit_error(ValueError, {"n_clusters": 2, "init": init}) == message
    called = {"n_clusters": 2, "init": lambda X, n_clusters, random_state: init}
    assert fit_error(ValueError, called) == message


def test_initial_centers_that_are_not_finite_or_overflow() -> None:
    init = np.zeros((2, 3))
    init[1, 2] = np.nan
    assert "Input init contains NaN" in fit_error(ValueError, {"n_clusters": 2, "init": init})
    init[1, 2] = 1e300
    message = fit_error(DataError, {"n_clusters": 2, "init": init})
    assert message.startswith("column 2 of init holds a value of magnitude 1e+300")
