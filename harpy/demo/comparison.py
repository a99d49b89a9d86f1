"""One picture set clustered by scikit-learn's KMeans and by DAALKMeans, alike in all parameters.

Owns fitting, timing and the six scores; where pictures come from and what becomes of the results is
left to others.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harpy.demo.pictures import PictureSet
from harpy.errors import ConfigError

MAX_ITER = 300
N_INIT = 10  # the best of ten: one random start alone says little
SEED = 0
_SILHOUETTE_ROWS = 5000  # it compares all pairs, so only a sample of larger sets

# Names of the scores, in the order in which they are shown.
SCORES = ("homogeneity", "completeness", "V-measure", "ARI", "AMI", "silhouette")


@dataclass(frozen=True)
class Placement:
    """Where DAALKMeans runs."""

    launcher: str = "auto"
    n_node: int = 2
    n_thread: int = 1


@dataclass(frozen=True)
class Outcome:
    """One fit and what it is worth."""

    name: str
    labels: np.ndarray  # (n_pictures,), int
    centers: np.ndarray  # (n_clusters, n_features)
    inertia: float
    n_iter: int
    seconds: float  # from the call of fit until labels were there
    scores: dict[str, float]
    job: Any = None  # harpy.session.JobInfo


def score(X: np.ndarray, classes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The six scores of a clustering by name, see SCORES.

    The first five compare with the true classes; the silhouette (on at most 5,000 pictures) asks
    only how well clusters are set apart, and is nan for a single cluster.
    """
    from sklearn import metrics

    homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(
        classes, labels
    )
    sample = min(_SILHOUETTE_ROWS, len(X))
    try:
        silhouette = metrics.silhouette_score(X, labels, sample_size=sample, random_state=SEED)
    except ValueError:  # fewer than two clusters, or every picture alone in its own
        silhouette = math.nan
    values = (
        homogeneity,
        completeness,
        v_measure,
        metrics.adjusted_rand_score(classes, labels),
        metrics.adjusted_mutual_info_score(classes, labels),
        silhouette,
    )
    return {name: float(value) for name, value in zip(SCORES, values, strict=True)}


def score_line(name: str, seconds: float, inertia: float, scores: dict[str, float]) -> str:
    """One line as in scikit-learn's clustering examples; `score_header` is what stands above."""
    values = "  ".join(f"{scores[score]:12.3f}" for score in SCORES)
    return f"{name:13s}  {seconds:7.2f}s  {inertia:12.6g}  {values}"


def score_header() -> str:
    """The header of the table of scores."""
    names = "  ".join(f"{name:>12s}" for name in SCORES)
    return f"{'':13s}  {'time':>8s}  {'inertia':>12s}  {names}"


def compare(
    pictures: PictureSet,
    n_clusters: int,
    placement: Placement,
    say: Callable[[str], None] = lambda text: None,
) -> list[Outcome]:
    """Fit scikit-learn's KMeans, then DAALKMeans.

    Parameters
    ----------
    pictures : PictureSet
    n_clusters : int
    placement : Placement
    say : callable
        Told before each fit.

    Raises
    ------
    ConfigError
        More clusters than pictures.
    HarpyError
        The cluster or a worker failed.
    """
    if n_clusters > len(pictures.X):
        raise ConfigError(f"{n_clusters} clusters of {len(pictures.X)} pictures: ask for fewer")
    from sklearn.cluster import KMeans

    from harpy import DAALKMeans

    alike: dict[str, Any] = {
        "n_clusters": n_clusters,
        "init": "random",
        "n_init": N_INIT,
        "max_iter": MAX_ITER,
        "random_state": SEED,
    }
    models: Sequence[tuple[str, Any]] = (
        ("scikit-learn", KMeans(**alike)),
        (
            "DAALKMeans",
            DAALKMeans(
                **alike,
                launcher=placement.launcher,
                n_node=placement.n_node,
                n_thread=placement.n_thread,
            ),
        ),
    )
    outcomes = []
    for name, model in models:
        say(f"{name}: {n_clusters} clusters, the best of {N_INIT} random starts")
        outcomes.append(_fit(name, model, pictures))
    return outcomes


def _fit(name: str, model: Any, pictures: PictureSet) -> Outcome:
    began = time.perf_counter()
    model.fit(pictures.X)
    seconds = time.perf_counter() - began
    return Outcome(
        name=name,
        labels=np.asarray(model.labels_),
        centers=np.asarray(model.cluster_centers_),
        inertia=float(model.inertia_),
        n_iter=int(model.n_iter_),
        seconds=seconds,
        scores=score(pictures.X, pictures.classes, model.labels_),
        job=getattr(model, "job_", None),
    )
