"""The program's own manners: what it refuses, whom it names, what it shows while it runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harpy.errors import ConfigError, DataError
from harpy.jobs.kmeans import main
from tests.support.gangs.threads import run_gang


def rows(n: int = 40, d: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d))


@pytest.mark.parametrize(("bad", "word"), [(math.nan, "nan"), (math.inf, "inf")])
def test_a_bad_value_on_any_worker_is_named_by_its_global_row(bad: float, word: str) -> None:
    X = rows()
    X[33, 2] = bad
    with pytest.raises(DataError, match=rf"^X has {word} at row 33, column 2 \(counted from 0\)"):
        run_gang(main, X, {"n_clusters": 2}, splits=(10, 20))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_overflowing_squares_are_blamed_on_their_column(dtype: type) -> None:
    X = rows().astype(dtype)
    X[35, 1] = np.finfo(dtype).max / 4
    kind = np.dtype(dtype).name
    with pytest.raises(DataError, match=rf"^column 1 of X holds .* would overflow {kind}\."):
        run_gang(main, X, {"n_clusters": 2}, splits=(10, 20))
    with pytest.raises(DataError, match=rf"^column 0 of init holds .* would overflow {kind}\."):
        init = np.full((2, 3), np.finfo(dtype).max, dtype)
        run_gang(main, rows().astype(dtype), {"n_clusters": 2, "init": init}, splits=(10,))


def test_fewer_rows_than_clusters_are_refused() -> None:
    with pytest.raises(DataError, match=r"^n_samples=40 should be >= n_clusters=41\.$"):
        run_gang(main, rows(), {"n_clusters": 41}, splits=(3,))


def test_parameters_are_checked() -> None:
    with pytest.raises(ConfigError, match="needs n_clusters; got k"):
        run_gang(main, rows(), {"k": 2})
    with pytest.raises(
        ConfigError, match=r"init must be random, k-means\+\+, k-means\|\| or an array, got 'best'"
    ):
        run_gang(main, rows(), {"n_clusters": 2, "init": "best"})
    with pytest.raises(ConfigError, match=r"must be at least 1 and tol at least 0, got 0, 300"):
        run_gang(main, rows(), {"n_clusters": 0})
    with pytest.raises(ConfigError, match=r"init must be of shape \(1, 2, 3\), got \(3, 3\)"):
        run_gang(main, rows(), {"n_clusters": 2, "init": np.zeros((3, 3))})
    with pytest.raises(ConfigError, match="names no bit generator: 'os'"):
        run_gang(main, rows(), {"n_clusters": 2, "random_state": {"bit_generator": "os"}})


def test_progress_rises_and_shows_the_inertia() -> None:
    X = rows(300)
    result = run_gang(main, X, {"n_clusters": 4, "n_init": 2, "random_state": 0}, splits=(100,))
    reported = [r for r in result.contexts[0].reported if r[0] is not None]
    fractions = [fraction for fraction, _ in reported]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] <= fractions[-1] <= 1
    assert [values["iteration"] for _, values in reported][:3] == [1, 2, 3]
    shown = [values["inertia"] for _, values in reported]
    assert shown[0] > shown[2]
    final = [s for s in shown if s == pytest.approx(result.value["inertia"], rel=1e-9)]
    assert final, "the last estimate of the kept run is its inertia"


def test_what_nobody_sees_or_needs_is_not_worked_for() -> None:
    X, init = rows(300), rows(4)
    for tol, watched in ((0.0, True), (1e-2, False), (0.0, False)):
        params = {"n_clusters": 4, "init": init, "tol": tol}
        shown = run_gang(main, X, params, splits=(100,))
        result = run_gang(main, X, params, splits=(100,), watched=watched)
        assert bool(result.contexts[0].reported) == watched
        assert result.value["n_iter"] == shown.value["n_iter"]
        assert result.value["inertia"] == shown.value["inertia"]


def test_ranges_the_driver_has_measured_change_nothing() -> None:
    X = rows(300)
    params = {"n_clusters": 4, "init": "k-means++", "random_state": 0}
    expected = run_gang(main, X, params, splits=(100,))
    given = run_gang(main, X, {**params, "absmax": np.abs(X).max(axis=0)}, splits=(100,))
    assert given.value["cluster_centers"].tobytes() == expected.value["cluster_centers"].tobytes()
    assert given.value["inertia"] == expected.value["inertia"]


def test_a_state_that_nothing_was_drawn_from_comes_back() -> None:
    state = np.random.RandomState(5).get_state(legacy=False)
    for given in (7, None, state):
        params = {"n_clusters": 2, "init": rows(2), "random_state": given}
        assert run_gang(main, rows(), params).value["random_state"] is given


def test_workers_agree_on_draws_without_a_seed() -> None:
    result = run_gang(main, rows(), {"n_clusters": 3}, splits=(10, 20))
    centers = {value["cluster_centers"].tobytes() for value in result.values}
    assert len(centers) == 1


def test_rows_are_left_alone() -> None:
    X = rows()
    before = X.copy()
    X.flags.writeable = False
    run_gang(main, X, {"n_clusters": 3, "init": "k-means++"})
    assert np.array_equal(X, before)
