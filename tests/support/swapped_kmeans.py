"""A pytest plugin: from its import on, scikit-learn's KMeans is DAALKMeans.

Of scikit-learn's tests it leaves those that exercise KMeans, and reports what became of them and
which of them fitted one. Made for sklearn_suite.py, which runs them.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sklearn.cluster
import sklearn.cluster._bicluster
import sklearn.cluster._kmeans

from harpy import DAALKMeans, Session

REPORT = "HARPY_SUITE_REPORT"  # where the report is to be written, as JSON
SESSION = "HARPY_SUITE_SESSION"  # harpy.Session's parameters, as JSON; not set: in this process
# Their tests use KMeans through the estimators they are about, mostly without a word of it.
THROUGH_OTHERS = (
    "test_bayesian_mixture.py",
    "test_bicluster.py",
    "test_gaussian_mixture.py",
    "test_spectral.py",
)
_NAMES_KMEANS = re.compile(r"\bKMeans\b|\bk_means\(")
_THEIRS = sklearn.cluster.KMeans


class KMeans(DAALKMeans):
    """DAALKMeans with scikit-learn's parameters, their order and defaults: only these differ. It
    runs inside this process, or on `shared_session`."""

    shared_session: ClassVar[Session | None] = None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        name: DAALKMeans._parameter_constraints[name] for name in _THEIRS._parameter_constraints
    }
    n_fits: ClassVar[int] = 0

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
    ) -> None:
        super().__init__(
            n_clusters,
            max_iter,
            init,
            n_init,
            tol=tol,
            verbose=verbose,
            random_state=random_state,
            copy_x=copy_x,
            algorithm=algorithm,
            launcher="local" if self.shared_session is None else "auto",
            session=self.shared_session,
        )

    def _run(self, *arguments: Any, **options: Any) -> Any:
        KMeans.n_fits += 1
        return super()._run(*arguments, **options)


for module in (sklearn.cluster, sklearn.cluster._kmeans, sklearn.cluster._bicluster):
    assert module.KMeans is _THEIRS
    module.KMeans = KMeans


def exercises_kmeans(item: pytest.Item) -> bool:
    """Whether a test uses KMeans, as far as its text, decorators and parameters tell."""
    path, name = item.path.name, item.name
    if path in THROUGH_OTHERS:
        return True
    parameters = getattr(item, "callspec", None)
    chosen = list(parameters.params.values()) if parameters else []
    if any(value is KMeans or type(value) is KMeans for value in chosen):
        return True
    if re.search(r"MiniBatch|Bisecting", name):
        return False
    if re.search(r"\bKMeans\b|\bkmeans\b", name.partition("[")[2]):
        return True
    # One of several estimators, and not KMeans: its test of KMeans is another.
    if any(hasattr(value, "fit") for value in chosen):
        return False
    return bool(_NAMES_KMEANS.search(inspect.getsource(item.function)))


class Report:
    """What became of the tests."""

    def __init__(self) -> None:
        self.outcomes: defaultdict[str, list[str]] = defaultdict(list)
        self.fitting: list[str] = []

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        kept = [exercises_kmeans(item) for item in items]
        others = [item for item, keep in zip(items, kept, strict=True) if not keep]
        items[:] = [item for item, keep in zip(items, kept, strict=True) if keep]
        config.hook.pytest_deselected(items=others)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        before = KMeans.n_fits
        try:
            return (yield)
        finally:
            if KMeans.n_fits > before:
                self.fitting.append(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self.outcomes[report.outcome].append(report.nodeid)

    def pytest_sessionstart(self) -> None:
        if SESSION in os.environ:
            KMeans.shared_session = Session(**json.loads(os.environ[SESSION])).open()

    def pytest_sessionfinish(self) -> None:
        if KMeans.shared_session is not None:
            KMeans.shared_session.close()
        said = {**self.outcomes, "fitting": self.fitting}
        Path(os.environ[REPORT]).write_text(json.dumps(said))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Report())
