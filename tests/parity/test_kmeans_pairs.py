"""One set of bits over everything that must not matter, together: workers, threads and the form of
the rows, for every kind of rows and every seeding. Each pair of choices occurs in some fit."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_array

import harpy
from tests.support.rows.files import DENSE_FORMS, SPARSE_FORMS, TEXT_FORMS, in_every_form

COUNTS = (1, 2, 3, 4)
FORMS = {
    "dense": ("memory", "npy", "parquet", "csv"),
    "weighted": ("memory", "npy", "parquet", "csv"),
    "sparse": ("memory", "npz", "libsvm"),
    "weighted sparse": ("memory", "npz", "libsvm"),
}
INITS = ("random", "k-means++", "k-means||")
# Enough work for four threads in each of four workers.
SHAPE, N_CLUSTERS = (9000, 16), 128


class Case(NamedTuple):
    n_node: int
    n_thread: int
    kind: str
    form: str
    init: str


Pair = tuple[tuple[int, Any], tuple[int, Any]]


def pairs(case: Case) -> set[Pair]:
    """All pairs of choices in it."""
    return set(combinations(enumerate(case), 2))


def covering() -> list[Case]:
    """Cases in which every pair occurs that can: the one with most new pairs, again and again."""
    possible = [
        Case(n_node, n_thread, kind, form, init)
        for kind, forms in FORMS.items()
        for n_node, n_thread, form, init in product(COUNTS, COUNTS, forms, INITS)
    ]
    missing = set().union(*map(pairs, possible))
    chosen = []
    while missing:
        chosen.append(max(possible, key=lambda case: len(pairs(case) & missing)))
        missing -= pairs(chosen[-1])
    return chosen


CASES = covering()


def bits(model: harpy.DAALKMeans) -> tuple[bytes, bytes, str, int]:
    return (
        model.cluster_centers_.tobytes(),
        model.labels_.tobytes(),
        float(model.inertia_).hex(),
        model.n_iter_,
    )


class Rows:
    """The same numbers in every form, of every kind."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(11)
        centers = rng.normal(size=(40, SHAPE[1]))
        dense = 1e3 + centers[rng.integers(0, 40, SHAPE[0])] + rng.normal(size=SHAPE)
        sparse = csr_array(np.where(rng.random(SHAPE) < 0.7, dense, 0))
        self._memory: dict[str, Any] = {"dense": dense, "sparse": sparse}
        self._weights = rng.random(SHAPE[0])
        self._folders = {
            "dense": in_every_form(folder, dense, DENSE_FORMS),
            "sparse": in_every_form(folder, sparse, SPARSE_FORMS),
        }

    def given(self, kind: str, form: str) -> tuple[Any, np.ndarray | None]:
        """What `fit` takes: the rows, and their weights if they have some."""
        name = "sparse" if "sparse" in kind else "dense"
        weights = self._weights if "weighted" in kind else None
        if form == "memory":
            return self._memory[name], weights
        folder = self._folders[name][form]
        return harpy.dataset(folder, dtype="float64") if form in TEXT_FORMS else folder, weights


def fit(rows: Rows, kind: str, form: str, init: str, **gang: Any) -> tuple[bytes, bytes, str, int]:
    model = harpy.DAALKMeans(N_CLUSTERS, 3, init, n_init=3, random_state=5, **gang)
    X, weights = rows.given(kind, form)
    return bits(model.fit(X, sample_weight=weights))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return Rows(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def expected(rows: Rows) -> dict[tuple[str, str], tuple[bytes, bytes, str, int]]:
    """By kind and seeding: in this process, by one thread, from memory."""
    return {
        (kind, init): fit(rows, kind, "memory", init, n_thread=1, launcher="local")
        for kind, init in product(FORMS, INITS)
    }


@pytest.mark.parametrize(("n_node", "n_thread"), list(product(COUNTS, COUNTS)))
def test_same_bits_for_every_pair_of_choices(
    rows: Rows, expected: Any, n_node: int, n_thread: int, tmp_path: Path
) -> None:
    gang = harpy.Session(n_node, n_thread, launcher="local", workdir=str(tmp_path), progress=False)
    with gang as session:
        for case in CASES:
            if case[:2] == (n_node, n_thread):
                found = fit(rows, case.kind, case.form, case.init, session=session)
                assert found == expected[case.kind, case.init], case
