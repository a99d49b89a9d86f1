"""Scikit-learn's own tests of what KMeans computes, on two workers on YARN."""

from __future__ import annotations

from pathlib import Path

from running_cluster import RunningCluster
from sklearn_suite import run_suite

# The subset: of all tests of KMeans those of its numbers, on each kind of input; all but
# `test_kmeans_results` fit data of their own, which are uploaded to HDFS for them.
TESTS = (
    "test_all_init",
    "test_dense_sparse",
    "test_fit_transform",
    "test_fortran_aligned_data",
    "test_k_means_1_iteration",
    "test_kmeans_empty_cluster_relocated",
    "test_kmeans_init_fitted_centers",
    "test_kmeans_relocated_clusters",
    "test_kmeans_results",
    "test_kmeans_verbose",
    "test_kmeans_warns_less_centers_than_unique_points",
    "test_n_init",
    "test_predict_dense_sparse",
    "test_relocating_with_duplicates",
    "test_scaled_weights",
    "test_unit_weights_vs_no_weights",
    "test_weighted_vs_repeated",
)


def test_scikit_learns_tests_pass_on_workers(on_cluster: RunningCluster, tmp_path: Path) -> None:
    session = {"n_node": 2, "n_mem": 1024, "launcher": "yarn"}
    suite = run_suite(
        [f"cluster/tests/test_k_means.py::{test}" for test in TESTS], tmp_path, session
    )
    assert not suite.failed, suite.output
    assert len(suite.passed) == len(suite.fitting) > 60
