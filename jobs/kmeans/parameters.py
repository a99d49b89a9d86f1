"""What the program that fits reads from `ctx.params`, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harpy.errors import ConfigError
from harpy.jobs.kmeans.seeding import SEEDINGS, GeneratorState


@dataclass(frozen=True)
class Parameters:
    """scikit-learn's names and meanings.

    Attributes
    ----------
    n_clusters, max_iter, n_init : int
        At least 1.
    tol : float
        How far the centers may move and still count as at rest, as a share of the columns' mean
        variance.
    init : {"random", "k-means++", "k-means||"} or ndarray of shape (n_init, n_clusters, n_columns)
    random_state : int, None or the dict of `RandomState.get_state(legacy=False)`
        Of the draws, where `init` is a name.
    absmax : ndarray of shape (n_columns,), float64, or None
        Largest magnitude of each column over all rows, where the driver has measured and accepted
        it, and `init`: workers then need no pass for it.
    verbose : bool
        Whether the result tells the course of every run, which takes a pass over the rows in each
        iteration.
    output : str or None
        URL of a directory for the labels of rows in files; None: the output "labels".

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    n_clusters: int
    max_iter: int = 300
    tol: float = 1e-4
    init: str | np.ndarray = "random"
    n_init: int = 1
    random_state: GeneratorState = None
    absmax: np.ndarray | None = None
    verbose: bool = False
    output: str | None = None

    @classmethod
    def from_mapping(cls, params: Mapping[str, Any]) -> Parameters:
        """Those of a run.

        Raises
        ------
        ConfigError
            `n_clusters` is missing, or there is one of another name.
        """
        unknown = params.keys() - cls.__dataclass_fields__.keys()
        if unknown or "n_clusters" not in params:
            raise ConfigError(
                f"kmeans takes {', '.join(cls.__dataclass_fields__)} and needs n_clusters; "
                f"got {', '.join(sorted(params)) or 'nothing'}"
            )
        return cls(**params)

    def __post_init__(self) -> None:
        if self.n_clusters < 1 or self.max_iter < 1 or self.n_init < 1 or self.tol < 0:
            raise ConfigError(
                "n_clusters, max_iter and n_init must be at least 1 and tol at least 0, got "
                f"{self.n_clusters}, {self.max_iter}, {self.n_init}, {self.tol}"
            )
        if isinstance(self.init, str) and self.init not in SEEDINGS:
            raise ConfigError(f"init must be {', '.join(SEEDINGS)} or an array, got {self.init!r}")

    def given_centers(self, n_columns: int, dtype: np.dtype[Any]) -> np.ndarray | None:
        """Centers to start each run from (n_init, n_clusters, n_columns); None where `init` names
        a seeding.

        Raises
        ------
        ConfigError
            They are of another shape.
        """
        if isinstance(self.init, str):
            return None
        given = self.init if self.init.ndim == 3 else self.init[np.newaxis]
        expected = (self.n_init, self.n_clusters, n_columns)
        if given.shape != expected:
            raise ConfigError(f"init must be of shape {expected}, got {self.init.shape}")
        return np.ascontiguousarray(given, dtype=dtype)
