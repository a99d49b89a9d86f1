"""Scikit-learn's own tests of what KMeans computes, on two workers on YARN."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.cluster.running import RunningCluster
from tests.support.sklearn_suite import run_suite

# The subset: of all tests of KMeans those of its numbers, on each kind of input; all but
# `test_kmeans_results` fit data of their own, which are uploaded to HDFS for them.
TESTS = (
    "test_dense_sparse",
    "test_kmeans_relocated_clusters",
    "test_kmeans_results",
    "test_scaled_weights",
)
SLOW_TESTS = (
    "test_all_init",
    "test_fit_transform",
    "test_fortran_aligned_data",
    "test_k_means_1_iteration",
    "test_kmeans_empty_cluster_relocated",
    "test_kmeans_init_fitted_centers",
    "test_kmeans_verbose",
    "test_kmeans_warns_less_centers_than_unique_points",
    "test_n_init",
    "test_predict_dense_sparse",
    "test_relocating_with_duplicates",
    "test_unit_weights_vs_no_weights",
    "test_weighted_vs_repeated",
)


@pytest.mark.parametrize("tests", [TESTS, pytest.param(SLOW_TESTS, marks=pytest.mark.slow)])
def test_scikit_learns_tests_pass_on_workers(
    on_cluster: RunningCluster, tmp_path: Path, tests: Sequence[str]
) -> None:
    session = {"n_node": 2, "n_mem": 1024, "launcher": "yarn"}
    suite = run_suite(
        [f"cluster/tests/test_k_means.py::{test}" for test in tests], tmp_path, session
    )
    assert not suite.failed, suite.output
    assert len(suite.passed) == len(suite.fitting) >= len(tests)
