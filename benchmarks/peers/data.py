"""What is clustered: shapes, drawn rows of four kinds, scikit-learn's tables, a text collection.

The same seed draws the same numbers; float32 rows are the float64 ones, rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn import datasets


@dataclass(frozen=True)
class Shape:
    """Rows, columns and clusters; read and written as "500000x32k256"."""

    n_rows: int
    n_columns: int
    n_clusters: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        found = re.fullmatch(r"([\d,_]+)x(\d+)\s*k=?(\d+)", text)
        if found is None:
            raise ValueError(f"a shape is ROWSxCOLUMNSkCLUSTERS like 500000x32k256, got {text!r}")
        rows, columns, clusters = found.groups()
        return cls(int(re.sub("[,_]", "", rows)), int(columns), int(clusters))

    def __str__(self) -> str:
        return f"{self.n_rows}x{self.n_columns}k{self.n_clusters}"

    @property
    def flops(self) -> float:
        """Of one exhaustive pass: a multiply and an add for every row, column and center."""
        return 2.0 * self.n_rows * self.n_columns * self.n_clusters


SHAPES = tuple(
    Shape.parse(text)
    for text in (
        "1000000x2k1000",
        "1000000x8k100",
        "1000000x20k1000",
        "500000x32k256",
        "1000000x64k16",
        "200000x128k1024",
        "50000x784k10",
        "4485x1000k15",
        "100000x768k1000",
        "1797x64k10",
    )
)
TEXT_SHAPES = (Shape(20_000, 30_000, 20), Shape(20_000, 30_000, 100))


@dataclass(frozen=True)
class Problem:
    """Rows to cluster and the distinct rows of them that every library starts from.

    Attributes
    ----------
    name : str
        The shape, or the table's name and shape.
    kind : str
        A key of `DRAWN`, "real" or "text".
    X : ndarray or csr_matrix of shape (n_rows, n_columns)
    starts : ndarray of shape (n_clusters, n_columns)
    """

    name: str
    kind: str
    X: np.ndarray | sparse.csr_matrix
    starts: np.ndarray

    @property
    def shape(self) -> Shape:
        return Shape(*self.X.shape, len(self.starts))

    @property
    def flops(self) -> float:
        """Of one exhaustive pass; of sparse rows only what is stored counts."""
        if sparse.issparse(self.X):
            return 2.0 * self.X.nnz * len(self.starts)
        return self.shape.flops


def draw(shape: Shape, kind: str, dtype: str, seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    X = DRAWN[kind](shape, rng).astype(dtype)
    return Problem(str(shape), kind, X, distinct_rows(X, shape.n_clusters, rng))


def blobs(shape: Shape, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Normal clouds around normal centers; a row's RMS distance from its center is `spread` times
    the mean distance between two centers."""
    centers = rng.standard_normal((shape.n_clusters, shape.n_columns))
    a, b = rng.integers(shape.n_clusters, size=(2, 4096))
    apart = np.linalg.norm(centers[a[a != b]] - centers[b[a != b]], axis=1)
    X = rng.standard_normal((shape.n_rows, shape.n_columns))
    X *= spread * apart.mean() / np.sqrt(shape.n_columns) if apart.size else 1.0
    X += centers[rng.integers(shape.n_clusters, size=shape.n_rows)]
    return X


DRAWN: dict[str, Callable[[Shape, np.random.Generator], np.ndarray]] = {
    "overlapping": lambda shape, rng: blobs(shape, 1.0, rng),
    "separated": lambda shape, rng: blobs(shape, 0.1, rng),
    "uniform": lambda shape, rng: rng.random((shape.n_rows, shape.n_columns)),
    "heavy-tailed": lambda shape, rng: rng.standard_t(2, size=(shape.n_rows, shape.n_columns)),
}

# Each with as many clusters as it has classes; diabetes has none, 5 were chosen.
TABLES: dict[str, tuple[Callable[..., tuple[np.ndarray, np.ndarray]], int]] = {
    "digits": (datasets.load_digits, 10),
    "breast_cancer": (datasets.load_breast_cancer, 2),
    "wine": (datasets.load_wine, 3),
    "iris": (datasets.load_iris, 3),
    "diabetes": (datasets.load_diabetes, 5),
}


def table(name: str, dtype: str, seed: int) -> Problem:
    """A table scikit-learn ships, as it is: columns of very different ranges included."""
    load, n_clusters = TABLES[name]
    X = np.ascontiguousarray(load(return_X_y=True)[0], dtype=dtype)
    starts = distinct_rows(X, n_clusters, np.random.default_rng(seed))
    return Problem(f"{name} {Shape(*X.shape, n_clusters)}", "real", X, starts)


def text_collection(shape: Shape, dtype: str, seed: int) -> Problem:
    """Documents of Zipf-distributed words in scikit-learn's tf-idf: (1 + log tf)·idf, length 1.

    95 words a document leave about 80 different ones.
    """
    rng = np.random.default_rng(seed)
    n_documents, n_words = shape.n_rows, shape.n_columns
    frequency = 1.0 / (np.arange(n_words) + 2.7)
    lengths = 1 + rng.poisson(94, size=n_documents)
    words = rng.choice(n_words, size=lengths.sum(), p=frequency / frequency.sum())
    starts_of = np.concatenate([[0], np.cumsum(lengths)])
    X = sparse.csr_matrix((np.ones(len(words)), words, starts_of), shape=(n_documents, n_words))
    X.sum_duplicates()
    in_documents = np.bincount(X.indices, minlength=n_words)
    idf = np.log((1 + n_documents) / (1 + in_documents)) + 1
    X.data = (1 + np.log(X.data)) * idf[X.indices]
    row_of = np.repeat(np.arange(n_documents), np.diff(X.indptr))
    X.data /= np.sqrt(np.bincount(row_of, weights=X.data**2))[row_of]
    X = X.astype(dtype)
    starts = X[rng.choice(n_documents, shape.n_clusters, replace=False)].toarray()
    return Problem(str(shape), "text", X, starts)


def distinct_rows(X: np.ndarray, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Rows at random, no two with the same values."""
    chosen = X[rng.permutation(len(X))[: 2 * n_rows + 100]]
    _, first = np.unique(chosen, axis=0, return_index=True)
    return chosen[np.sort(first)[:n_rows]]
