"""`harpy kmeans fit` and `harpy kmeans predict`: DAALKMeans for shells."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harpy.cli.options import load_npy, session_options
from harpy.errors import DataError, HarpyError, PathExists, StoragePermissionError

if TYPE_CHECKING:
    from harpy.estimators.kmeans.estimator import DAALKMeans

_FORMATS = ("npy", "parquet", "csv", "libsvm", "npz")


def _columns(
    ctx: click.Context, option: click.Parameter, value: str | None
) -> list[str | int] | None:
    """Names or positions between commas."""
    if value is None:
        return None
    return [int(column) if column.isdecimal() else column for column in value.split(",")]


def _file_options(command: Any) -> Any:
    """The options of every command that takes rows in files."""
    for option in (
        click.option("--format", type=click.Choice(_FORMATS), help="By default: by the ending."),
        click.option(
            "--columns", callback=_columns, metavar="A,B,…", help="Names, or positions from 0."
        ),
    ):
        command = option(command)
    return command


def _is_read_here(data: tuple[str, ...], columns: Any, format: str | None) -> bool:
    """Whether the rows are those of one local .npy file, as they stand in it."""
    if columns is not None or format is not None or len(data) != 1:
        return False
    return data[0].endswith(".npy") and "://" not in data[0] and not set("*?[") & set(data[0])


def _rows(data: tuple[str, ...], columns: Any, format: str | None) -> Any:
    if _is_read_here(data, columns, format):
        return load_npy(Path(data[0]))
    from harpy.storage.rows.dataset import dataset

    return dataset(list(data), columns, format)


@contextmanager
def _about(data: tuple[str, ...]) -> Iterator[None]:
    """scikit-learn's words about bad input, with the files they are about, as one message."""
    try:
        yield
    except HarpyError:
        raise
    except (TypeError, ValueError) as exc:
        words = str(exc)
        # Its advice on missing values runs over many lines; the first says what is wrong.
        said = words if len(words) < 300 else words.splitlines()[0]
        raise DataError(f"{', '.join(data)}: {said}") from exc


def _check_new_file(output: Path) -> None:
    """Refuse a file that is there or could not be made, before any work is done for it."""
    if output.exists():
        raise PathExists(f"{output} exists", path=str(output))
    if not os.access(output.absolute().parent, os.W_OK):
        raise StoragePermissionError(f"no such directory, or not writable: {output.parent}")


def _save_labels(output: str, labels: Any) -> None:
    import numpy as np

    with Path(output).open("xb") as file:
        np.save(file, labels, allow_pickle=False)
    click.echo(f"wrote {output}", err=True)


_labels_option = click.option(
    "--output",
    metavar="URL",
    help="For the labels: a new .npy file; of rows in files a new directory.",
)


@click.group()
def kmeans() -> None:
    """K-means clustering of rows: of a local .npy file, or of files that workers read themselves.

    DATA is a path, a URL, a pattern such as 'hdfs:///data/*.parquet' or several of them. One local
    .npy file is read here and sent to the workers; of everything else they read their shares.
    """


@kmeans.command()
@click.argument("data", nargs=-1, required=True)
@click.option("--n-clusters", type=click.IntRange(1), default=10, show_default=True)
@click.option("--max-iter", type=click.IntRange(1), default=10, show_default=True)
@click.option("--init", type=click.Choice(["random", "k-means++", "k-means||"]), default="random")
@click.option("--n-init", type=click.IntRange(1), default=1, show_default=True)
@click.option("--tol", type=click.FloatRange(0), default=1e-4, show_default=True)
@click.option("--random-state", type=click.IntRange(0), help="Seed of the draws.")
@click.option("--model", "saved", metavar="URL", help="New directory for the fitted model.")
@_labels_option
@_file_options
@session_options
def fit(
    data: tuple[str, ...],
    saved: str | None,
    output: str | None,
    columns: list[str | int] | None,
    format: str | None,
    **options: Any,
) -> None:
    """Cluster the rows of DATA; print inertia and iterations as JSON."""
    from harpy.estimators.kmeans.estimator import DAALKMeans
    from harpy.estimators.labels import count_labels
    from harpy.estimators.model_directory import check_new_model

    here = _is_read_here(data, columns, format)
    if saved is not None:
        check_new_model(saved, options["hadoop_conf"])
    if here and output is not None:
        _check_new_file(Path(output))
    given = {name: value for name, value in options.items() if value is not None}
    model, rows = DAALKMeans(**given), _rows(data, columns, format)
    with _about(data):
        model.fit(rows, output=None if here else output)
    if saved is not None:
        model.save(saved)
        click.echo(f"wrote {saved}", err=True)
    if here and output is not None:
        _save_labels(output, model.labels_)
    summary = {
        "inertia": model.inertia_,
        "n_iter": model.n_iter_,
        "n_clusters": len(model.cluster_centers_),
        "n_features": model.n_features_in_,
        "n_rows": count_labels(model),
        "random_state": options["random_state"],
        "job": model.job_.id if model.job_ is not None else None,
    }
    click.echo(json.dumps(summary, indent=1))


@kmeans.command()
@click.argument("model")
@click.argument("data", nargs=-1, required=True)
@_labels_option
@_file_options
@session_options
def predict(
    model: str,
    data: tuple[str, ...],
    output: str | None,
    columns: list[str | int] | None,
    format: str | None,
    **options: Any,
) -> None:
    """Label the rows of DATA with the nearest center of MODEL (what `fit --model` has written).

    Prints one label a line unless --output is given. One local .npy file is labelled in this
    process; other rows by workers, which take the options below.
    """
    here = _is_read_here(data, columns, format)
    if here and output is not None:
        _check_new_file(Path(output))
    fitted = _load(model, {name: value for name, value in options.items() if value is not None})
    rows = _rows(data, columns, format)
    with _about(data):
        labels = fitted.predict(rows, output=None if here else output)
    if output is None:
        click.echo("\n".join(map(str, labels)))
    elif here:
        _save_labels(output, labels)
    else:
        click.echo(f"wrote {labels}", err=True)


def _load(model: str, parameters: dict[str, Any]) -> DAALKMeans:
    """The saved model; also the centers of a fit that `harpy fetch` has brought."""
    from harpy.estimators.kmeans.estimator import DAALKMeans
    from harpy.estimators.kmeans.parameters import CENTERS
    from harpy.estimators.model_directory import MODEL

    fetched = Path(model) / f"{CENTERS}.npy"
    if fetched.is_file() and not fetched.with_name(MODEL).exists():
        with _about((str(fetched),)):
            return DAALKMeans.from_centers(load_npy(fetched), **parameters)
    return DAALKMeans.load(model, **parameters)
