"""Scikit-learn's own tests of KMeans, from the installed scikit-learn, on DAALKMeans."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.sklearn_suite import LEFT_OUT, SKLEARN, SuiteResult, run_suite

# Where KMeans is used: by name, or by what is built on it.
FILES = (
    "cluster/tests/test_bicluster.py",
    "cluster/tests/test_k_means.py",
    "cluster/tests/test_spectral.py",
    "feature_selection/tests/test_sequential.py",
    "frozen/tests/test_frozen.py",
    "inspection/_plot/tests/test_boundary_decision_display.py",
    "inspection/tests/test_partial_dependence.py",
    "manifold/tests/test_spectral_embedding.py",
    "metrics/tests/test_score_objects.py",
    "model_selection/tests/test_search.py",
    "model_selection/tests/test_validation.py",
    "preprocessing/tests/test_discretization.py",
    "tests/test_base.py",
    "tests/test_common.py",  # check_estimator and more, for every estimator
    "tests/test_discriminant_analysis.py",
    "tests/test_pipeline.py",
    "utils/tests/test_response.py",
)
SLOW_FILES = ("mixture/tests/test_bayesian_mixture.py", "mixture/tests/test_gaussian_mixture.py")
# They name KMeans and do not use it.
NOT_ABOUT_IT = {
    "tests/test_public_functions.py": "the signature of the function k_means",
    "cluster/tests/test_bisect_k_means.py": "BisectingKMeans, which shares only private code",
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> SuiteResult:
    return run_suite(FILES, tmp_path_factory.mktemp("suite"))


def test_no_test_of_kmeans_fails(suite: SuiteResult) -> None:
    assert not suite.failed, suite.output
    assert len(suite.passed) > 300


def test_the_tests_met_our_estimator(suite: SuiteResult) -> None:
    """In every file a fit was ours, but for one that asks of what kind an estimator is; and in most
    tests of KMeans itself."""
    fitting = {test.partition("::")[0] for test in suite.fitting}
    assert set(FILES) - fitting == {"tests/test_base.py"}
    own = {test for test in suite.passed if "/test_k_means.py::" in test}
    assert len(own & set(suite.fitting)) > 0.9 * len(own) > 100


@pytest.mark.parametrize("test", LEFT_OUT)
def test_what_is_left_out_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (SKLEARN / file).read_text()


def test_no_file_that_names_kmeans_is_forgotten() -> None:
    naming = {
        str(path.relative_to(SKLEARN))
        for path in SKLEARN.rglob("test_*.py")
        if re.search(r"\bKMeans\b|\bk_means\b", path.read_text())
    }
    assert naming - {*FILES, *SLOW_FILES, *NOT_ABOUT_IT} == set()


@pytest.mark.slow
def test_no_mixture_that_starts_from_kmeans_fails(tmp_path: Path) -> None:
    # In float32 some of them fail with scikit-learn's own KMeans, too.
    mixtures = run_suite(SLOW_FILES, tmp_path, float32=False)
    assert not mixtures.failed, mixtures.output
    assert mixtures.fitting
