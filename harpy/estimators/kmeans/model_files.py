"""Fitted models as files: `save`, `load` and `to_sklearn` of the estimator.

docs/model-format.md describes the files. Nothing in them is executed or unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

import harpy
from harpy.errors import ConfigError, DataError, PathExists, PathNotFound, StorageError
from harpy.storage import FileSystem, FileSystems, join
from harpy.storage.fs.base import temporary_path
from harpy.storage.rows.arrays import NpyFile, row_blocks, write_npy

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

    from harpy.estimators.kmeans.estimator import DAALKMeans

FORMAT = "harpy k-means model"
VERSION = 1
MODEL, CENTERS, LABELS = "model.json", "cluster_centers", "labels"
# What belongs to the place where a model was fitted, or may hold what is nobody's business.
_NOT_SAVED = ("session", "hadoop_conf")
# What else a fit left; a model of known centers has none of it, and others not all.
_FOUND = {"n_iter": int, "inertia": float, "labels_path": str}


class ModelFiles:
    """The part of DAALKMeans that leaves the process."""

    def save(
        self, path: str | os.PathLike[str], *, labels: bool = False, overwrite: bool = False
    ) -> None:
        """Write the fitted model as a directory of JSON and `.npy` files: all of it or nothing.

        Parameters
        ----------
        path : str or path
            `hdfs://…`, `file://…` or a path of this machine; missing parents are made.
        labels : bool, default=False
            Save `labels_`, too.
        overwrite : bool, default=False
            Replace a model that is there already, and nothing else.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        PathExists
            Something is there: a model and not `overwrite`, or anything else.
        StorageError
            The file system refused; nothing half-written is left.
        """
        from sklearn.utils.validation import check_is_fitted

        model: DAALKMeans = self  # type: ignore[assignment]
        check_is_fitted(model, "cluster_centers_")
        if labels:
            check_is_fitted(model, "labels_", msg=_NO_LABELS)
        fs, url = _place(path, model.hadoop_conf)
        _refuse_other(fs, url, overwrite)
        arrays = {CENTERS: np.asarray(model.cluster_centers_)}
        if labels:
            arrays[LABELS] = np.asarray(model.labels_)
        temporary = temporary_path(url)
        try:
            fs.mkdirs(temporary)
            text = json.dumps(_describe(model, arrays), indent=1, allow_nan=False)
            # At once: HDFS takes half a second to close a file, whatever its size.
            with ThreadPoolExecutor(1 + len(arrays), "harpy-save") as pool:
                writing = [
                    pool.submit(fs.write_bytes, join(temporary, MODEL), f"{text}\n".encode()),
                    *(
                        pool.submit(write_npy, fs, join(temporary, f"{name}.npy"), array)
                        for name, array in arrays.items()
                    ),
                ]
            for future in writing:
                future.result()
            _publish(fs, temporary, url, overwrite)
        except BaseException:
            with suppress(StorageError):  # the error that led here is the one to report
                fs.delete(temporary, recursive=True)
            raise
        finally:
            fs.close()

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        hadoop_conf: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> Self:
        """The model that `save` wrote; it predicts the same bits.

        Parameters
        ----------
        path : str or path
            `hdfs://…`, `file://…`, a path of this machine, or a URL that fsspec opens.
        hadoop_conf : mapping of str to str, optional
            Hadoop settings on top of the configuration files; also the model's parameter.
        **parameters
            Of the model, instead of those it was saved with, e.g. ``n_thread=2``.

        Raises
        ------
        PathNotFound
            There is nothing.
        DataError
            It is no model, one of a later version, or damaged; the message says which and where.
        """
        fs, url = _place(path, hadoop_conf)
        try:
            saved = _SavedModel.read(fs, url, cls.__name__)
            model = saved.build(cls, {**parameters, "hadoop_conf": hadoop_conf})
        finally:
            fs.close()
        return model

    def to_sklearn(self) -> KMeans:
        """A fitted `sklearn.cluster.KMeans` with this model's parameters and copies of its fitted
        attributes. Its `init` is "k-means++" where this model's is "k-means||", which scikit-learn
        does not have."""
        from sklearn.cluster import KMeans
        from sklearn.utils.validation import check_is_fitted

        model: DAALKMeans = self  # type: ignore[assignment]
        check_is_fitted(model, "cluster_centers_")
        centers = np.array(model.cluster_centers_)
        # A fit of next to nothing, so that scikit-learn itself sets what its methods rely on.
        theirs = KMeans(n_clusters=1, init=centers[:1], n_init=1, max_iter=1).fit(centers[:1])
        own = model.get_params(deep=False)
        if isinstance(model.init, str) and model.init == "k-means||":
            own["init"] = "k-means++"
        theirs.set_params(**{name: own[name] for name in theirs.get_params(deep=False)})
        for name in ("labels_", "inertia_", "n_iter_", "feature_names_in_"):
            if hasattr(theirs, name):
                delattr(theirs, name)
            if hasattr(model, name):
                value = getattr(model, name)
                setattr(theirs, name, value.copy() if isinstance(value, np.ndarray) else value)
        theirs.cluster_centers_ = centers
        theirs._n_features_out = len(centers)
        return theirs


_NO_LABELS = (
    "this %(name)s has no labels_ to save: they lie in files, or it was loaded or made without "
    "any; pass labels=False"
)


def _place(
    path: str | os.PathLike[str], hadoop_conf: Mapping[str, str] | None
) -> tuple[FileSystem, str]:
    """The file system of `path`, and its full URL there."""
    given = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(given, str) or not given:
        raise ConfigError(f"path must be that of a directory, or its URL, got {path!r}")
    if "://" not in given and not given.startswith("file:/"):
        given = str(Path(given).expanduser().absolute())
    return FileSystems(hadoop_conf).locate(given)


def check_new_model(
    path: str | os.PathLike[str], hadoop_conf: Mapping[str, str] | None = None
) -> None:
    """Refuse a place where `save` would find something, before any work is done for it."""
    fs, url = _place(path, hadoop_conf)
    try:
        _refuse_other(fs, url, overwrite=False)
    finally:
        fs.close()


def _refuse_other(fs: FileSystem, url: str, overwrite: bool) -> None:
    """Refuse to write over what is there, unless it is a model and is to be replaced."""
    try:
        there = fs.stat(url)
    except PathNotFound:
        return
    if not (there.is_dir and fs.exists(join(url, MODEL))):
        raise PathExists(f"{url} exists and is no saved model; choose another path", path=url)
    if not overwrite:
        raise PathExists(
            f"{url} holds a model already; choose another path, or overwrite=True", path=url
        )


def _publish(fs: FileSystem, temporary: str, url: str, overwrite: bool) -> None:
    """Give the complete directory its name; a model that had it is removed afterwards."""
    if not (overwrite and fs.exists(url)):
        fs.rename(temporary, url)
        return
    old = temporary_path(url)
    fs.rename(url, old)
    try:
        fs.rename(temporary, url)
    except BaseException:
        fs.rename(old, url)
        raise
    fs.delete(old, recursive=True)


def _describe(model: DAALKMeans, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What model.json says."""
    given = {k: _to_json(v) for k, v in model.get_params(deep=False).items() if k not in _NOT_SAVED}
    names = getattr(model, "feature_names_in_", None)
    return {
        "format": FORMAT,
        "version": VERSION,
        "class": type(model).__name__,
        "harpy": harpy.__version__,
        "parameters": {k: v for k, v in given.items() if v is not _NO_JSON},
        "n_features_in": int(model.n_features_in_),
        "feature_names_in": None if names is None else [str(name) for name in names],
        **{name: _to_json(getattr(model, f"{name}_", None)) for name in _FOUND},
        "arrays": {
            name: {
                "dtype": array.dtype.name,
                "shape": list(array.shape),
                "sha256": _digest(array),
            }
            for name, array in arrays.items()
        },
    }


_NO_JSON = object()


def _to_json(value: Any) -> Any:
    """A value in JSON's types, or _NO_JSON: arrays, callables, generators."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else _NO_JSON


def _digest(array: np.ndarray) -> str:
    """SHA-256 of the values as they lie in the file behind its header."""
    digest = hashlib.sha256()
    for block in row_blocks(array):
        digest.update(block.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class _SavedModel:
    """A model's directory, read and checked."""

    url: str
    parameters: dict[str, Any]
    feature_names: list[str] | None
    found: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @classmethod
    def read(cls, fs: FileSystem, url: str, class_name: str) -> _SavedModel:
        described = _read_description(fs, url)
        if described.get("format") != FORMAT:
            raise DataError(
                f"{join(url, MODEL)} should say format {FORMAT!r}, got {described.get('format')!r}"
            )
        if described.get("version") != VERSION:
            raise DataError(
                f"{url} is of format version {described.get('version')!r}, this harpy "
                f"({harpy.__version__}) reads {VERSION}; it was saved by harpy "
                f"{described.get('harpy')}: load it with that version or a later one"
            )
        if described.get("class") != class_name:
            raise DataError(
                f"{url} holds a {described.get('class')}, not a {class_name}: load it with "
                f"{described.get('class')}.load"
            )
        try:
            arrays = {
                name: _read_array(fs, join(url, f"{name}.npy"), facts)
                for name, facts in described["arrays"].items()
            }
            saved = cls(
                url,
                dict(described["parameters"]),
                described["feature_names_in"],
                {
                    name: kind(described[name])
                    for name, kind in _FOUND.items()
                    if described[name] is not None
                },
                arrays,
            )
            saved._check_shapes(described["n_features_in"])
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            if isinstance(exc, DataError):
                raise
            raise DataError(
                f"{join(url, MODEL)} is not as `save` writes it: {type(exc).__name__}: {exc}"
            ) from exc
        return saved

    def _check_shapes(self, n_features: Any) -> None:
        shape = self.arrays[CENTERS].shape
        if len(shape) != 2 or shape[1] != n_features:
            raise DataError(
                f"{self.url}: cluster_centers.npy should have {n_features} columns, as {MODEL} "
                f"says, got shape {shape}"
            )
        if self.feature_names is not None and len(self.feature_names) != n_features:
            raise DataError(
                f"{self.url}: {MODEL} names {len(self.feature_names)} features of {n_features}"
            )

    def build(self, cls: type[Any], parameters: Mapping[str, Any]) -> Any:
        """The fitted estimator."""
        known = cls._get_param_names()
        unknown = sorted(set(self.parameters) - set(known))
        if unknown:
            raise DataError(
                f"{self.url} has parameters that {cls.__name__} of harpy {harpy.__version__} does "
                f"not know: {', '.join(unknown)}; update harpy"
            )
        try:
            model = cls.from_centers(self.arrays[CENTERS])
            model.set_params(**self.parameters)
            model._validate_params()
        except ValueError as exc:
            raise DataError(f"{self.url} holds no usable model: {exc}") from exc
        model.set_params(**parameters)
        for name, value in self.found.items():
            setattr(model, f"{name}_", value)
        if self.feature_names is not None:
            model.feature_names_in_ = np.array(self.feature_names, dtype=object)
        if LABELS in self.arrays:
            model.labels_ = self.arrays[LABELS]
        return model


def _read_description(fs: FileSystem, url: str) -> dict[str, Any]:
    """model.json as it is; the error says what is there instead."""
    path = join(url, MODEL)
    try:
        text = fs.read_bytes(path)
    except PathNotFound as exc:
        if not fs.exists(url):
            raise PathNotFound(f"no model at {url}: there is nothing", path=url) from exc
        raise DataError(
            f"{url} is no model saved by harpy: it holds no {MODEL}. Centers alone, such as "
            "`harpy fetch` brings, make one: "
            "DAALKMeans.from_centers(numpy.load('…/cluster_centers.npy'))"
        ) from exc
    try:
        described = json.loads(text)
    except ValueError as exc:
        raise DataError(f"{path} is damaged: not JSON: {exc}") from exc
    if not isinstance(described, dict):
        raise DataError(f"{path} should hold a JSON object, got {type(described).__name__}")
    return described


def _read_array(fs: FileSystem, path: str, facts: Mapping[str, Any]) -> np.ndarray:
    """An array that is what model.json says of it."""
    try:
        file = NpyFile(fs, path)
    except PathNotFound as exc:
        raise DataError(f"{path} is missing, which {MODEL} beside it names") from exc
    expected = f"{facts['dtype']} {tuple(facts['shape'])}"
    got = f"{file.dtype.name} {file.shape}"
    if expected != got:
        raise DataError(f"{path} should hold {expected}, as {MODEL} says, got {got}")
    array = file.read()
    if _digest(array) != facts["sha256"]:
        raise DataError(
            f"{path} is damaged or was changed: its values do not have the sha256 that {MODEL} "
            "says; save the model again"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)
