"""`harpy kmeans fit` and `harpy kmeans predict`: DAALKMeans for shells."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from harpy.cli_options import load_npy, session_options
from harpy.errors import ConfigError, DataError, HarpyError, PathExists, StoragePermissionError


@contextmanager
def _about(data: Path) -> Iterator[None]:
    """scikit-learn's words about bad input, with the file they are about, as one message."""
    try:
        yield
    except HarpyError:
        raise
    except (TypeError, ValueError) as exc:
        words = str(exc)
        # Its advice on missing values runs over many lines; the first says what is wrong.
        said = words if len(words) < 300 else words.splitlines()[0]
        raise DataError(f"{data}: {said}") from exc


def _check_new_file(output: Path) -> None:
    """Refuse a file that is there or could not be made, before any work is done for it."""
    if output.exists():
        raise PathExists(f"{output} exists", path=str(output))
    if not os.access(output.absolute().parent, os.W_OK):
        raise StoragePermissionError(f"no such directory, or not writable: {output.parent}")


@click.group()
def kmeans() -> None:
    """K-means clustering of the rows of a .npy file."""


@kmeans.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--n-clusters", type=click.IntRange(1), default=10, show_default=True)
@click.option("--max-iter", type=click.IntRange(1), default=10, show_default=True)
@click.option("--init", type=click.Choice(["random", "k-means++", "k-means||"]), default="random")
@click.option("--n-init", type=click.IntRange(1), default=1, show_default=True)
@click.option("--tol", type=click.FloatRange(0), default=1e-4, show_default=True)
@click.option("--random-state", type=click.IntRange(0), help="Seed of the draws.")
@click.option("--output", type=click.Path(path_type=Path), help="Directory for the model.")
@session_options
def fit(data: Path, output: Path | None, **options: Any) -> None:
    """Cluster the rows of DATA; print inertia and iterations as JSON.

    With --output the model goes to a new directory: result.json, cluster_centers.npy, labels.npy.
    """
    from harpy.job_control import check_output, save_results
    from harpy.kmeans import DAALKMeans

    if output is not None:
        check_output(output)
    given = {name: value for name, value in options.items() if value is not None}
    model, rows = DAALKMeans(**given), load_npy(data)
    with _about(data):
        model.fit(rows)
    summary = {
        "inertia": model.inertia_,
        "n_iter": model.n_iter_,
        "n_clusters": len(model.cluster_centers_),
        "n_features": model.n_features_in_,
        "n_rows": len(model.labels_),
        "random_state": options["random_state"],
        "job": model.job_.id if model.job_ is not None else None,
    }
    if output is not None:
        arrays = {"cluster_centers": model.cluster_centers_, "labels": model.labels_}
        for path in save_results(output, summary, arrays):
            click.echo(f"wrote {path}", err=True)
    click.echo(json.dumps(summary, indent=1))


@kmeans.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--n-thread", type=click.IntRange(1), default=1, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help=".npy file for the labels.")
def predict(model: Path, data: Path, n_thread: int, output: Path | None) -> None:
    """Label the rows of DATA with the nearest center of MODEL (a directory made by `fit`).

    Prints one label a line unless --output is given.
    """
    import numpy as np

    from harpy.kmeans import DAALKMeans

    if output is not None:
        _check_new_file(output)
    centers = load_npy(model / "cluster_centers.npy")
    rows = load_npy(data)
    if centers.ndim != 2:
        raise ConfigError(f"{model} holds no centers: expected 2 dimensions, got {centers.ndim}")
    with _about(data):
        labels = DAALKMeans.from_centers(centers, n_thread=n_thread).predict(rows)
    if output is None:
        click.echo("\n".join(map(str, labels)))
    else:
        with output.open("xb") as file:
            np.save(file, labels, allow_pickle=False)
        click.echo(f"wrote {output}", err=True)
