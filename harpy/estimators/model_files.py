"""Fitted models as files: `save` and `load` of an estimator. How the files are written and read is
left to model_directory.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

import harpy
from harpy.errors import DataError
from harpy.estimators.model_directory import (
    MODEL,
    describe_arrays,
    locate_model,
    read_array,
    read_description,
    refuse_other,
    write_model,
)
from harpy.estimators.session import SessionEstimator
from harpy.storage import FileSystem, join

# Not saved: they belong to where a model was fitted, or may hold secrets.
_NOT_SAVED = ("session", "hadoop_conf")


@dataclass(frozen=True)
class ModelFormat:
    """What of a fitted estimator goes into files, besides parameters and features.

    Attributes
    ----------
    name : str
        What model.json calls it.
    version : int
        Readers refuse another.
    arrays : mapping of str to int
        Attributes, without their underscore, that are arrays, and their numbers of dimensions, of
        which the last is that of the features. A model that lacks the first is not fitted.
    values : mapping of str to type
        Attributes that are JSON values; null where a model has none.
    extras : tuple of str
        Attributes that are arrays, saved only when asked for.
    advice : str
        For a directory that holds no model: what a user may have meant.
    """

    name: str
    version: int
    arrays: Mapping[str, int]
    values: Mapping[str, type] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    advice: str = ""


class SavedEstimator(SessionEstimator):
    """An estimator that can be saved; `_model_format` says what of it."""

    _model_format: ClassVar[ModelFormat]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted model as a directory of JSON and `.npy` files: all of it or nothing.

        Parameters
        ----------
        path : str or path
            `hdfs://…`, `file://…` or a path of this machine; missing parents are made.
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
        self._check_fitted()
        self._save(path, tuple(self._model_format.arrays), overwrite)

    def _save(self, path: str | os.PathLike[str], names: tuple[str, ...], overwrite: bool) -> None:
        """Write the arrays of these names, and what model.json says."""
        fs, url = locate_model(path, self.hadoop_conf)
        try:
            refuse_other(fs, url, overwrite)
            arrays = {name: np.asarray(getattr(self, f"{name}_")) for name in names}
            write_model(fs, url, _describe(self, arrays), arrays, overwrite)
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

        Returns
        -------
        the estimator's class
            Fitted.

        Raises
        ------
        PathNotFound
            There is nothing.
        DataError
            It is no model, one of a later version, or damaged; the message says which and where.
        """
        fs, url = locate_model(path, hadoop_conf)
        try:
            saved = _SavedModel.read(fs, url, cls)
        finally:
            fs.close()
        return saved.build(cls, {**parameters, "hadoop_conf": hadoop_conf})

    @classmethod
    def _of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """A fitted model of the arrays that `save` wrote, by name; ValueError if they make none."""
        model = cls()
        for name in cls._model_format.arrays:
            setattr(model, f"{name}_", arrays[name])
            model.n_features_in_ = arrays[name].shape[-1]
        return model

    def _check_fitted(self) -> None:
        """scikit-learn's NotFittedError where there is nothing to work with yet."""
        attribute = f"{next(iter(self._model_format.arrays))}_"
        if not hasattr(self, attribute):  # scikit-learn's own check is slow
            check_is_fitted(self, attribute)


def _describe(model: SavedEstimator, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What model.json says."""
    saved_as = model._model_format
    given = {k: _to_json(v) for k, v in model.get_params(deep=False).items() if k not in _NOT_SAVED}
    names = getattr(model, "feature_names_in_", None)
    return {
        "format": saved_as.name,
        "version": saved_as.version,
        "class": type(model).__name__,
        "harpy": harpy.__version__,
        "parameters": {k: v for k, v in given.items() if v is not _NO_JSON},
        "n_features_in": int(model.n_features_in_),
        "feature_names_in": None if names is None else [str(name) for name in names],
        **{name: _to_json(getattr(model, f"{name}_", None)) for name in saved_as.values},
        "arrays": describe_arrays(arrays),
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


@dataclass(frozen=True)
class _SavedModel:
    """A model's directory, read and checked."""

    url: str
    parameters: dict[str, Any]
    feature_names: list[str] | None
    values: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @classmethod
    def read(cls, fs: FileSystem, url: str, kind: type[SavedEstimator]) -> _SavedModel:
        saved_as = kind._model_format
        described = read_description(fs, url, saved_as.advice)
        _refuse_other_kinds(url, described, kind)
        try:
            arrays = {
                name: read_array(fs, join(url, f"{name}.npy"), facts)
                for name, facts in described["arrays"].items()
            }
            values = {
                name: of_type(described[name])
                for name, of_type in saved_as.values.items()
                if described[name] is not None
            }
            names = described["feature_names_in"]
            saved = cls(url, dict(described["parameters"]), names, values, arrays)
            saved._check_shapes(saved_as, described["n_features_in"])
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            if isinstance(exc, DataError):
                raise
            raise DataError(
                f"{join(url, MODEL)} is not as `save` writes it: {type(exc).__name__}: {exc}"
            ) from exc
        return saved

    def _check_shapes(self, saved_as: ModelFormat, n_features: Any) -> None:
        for name, n_dimensions in saved_as.arrays.items():
            shape = self.arrays[name].shape
            if len(shape) != n_dimensions or shape[-1] != n_features:
                raise DataError(
                    f"{self.url}: {name}.npy should have {n_features} columns, as {MODEL} says, "
                    f"got shape {shape}"
                )
        if self.feature_names is not None and len(self.feature_names) != n_features:
            raise DataError(
                f"{self.url}: {MODEL} names {len(self.feature_names)} features of {n_features}"
            )

    def build(self, kind: type[Any], parameters: Mapping[str, Any]) -> Any:
        """The fitted estimator."""
        unknown = sorted(set(self.parameters) - set(kind._get_param_names()))
        if unknown:
            raise DataError(
                f"{self.url} has parameters that {kind.__name__} of harpy {harpy.__version__} does "
                f"not know: {', '.join(unknown)}; update harpy"
            )
        try:
            model = kind._of_arrays(self.arrays)
            model.set_params(**self.parameters)
            model._validate_params()
        except ValueError as exc:
            raise DataError(f"{self.url} holds no usable model: {exc}") from exc
        model.set_params(**parameters)
        for name, value in self.values.items():
            setattr(model, f"{name}_", value)
        if self.feature_names is not None:
            model.feature_names_in_ = np.array(self.feature_names, dtype=object)
        for name in kind._model_format.extras:
            if name in self.arrays:
                setattr(model, f"{name}_", self.arrays[name])
        return model


def _refuse_other_kinds(url: str, described: Mapping[str, Any], kind: type[SavedEstimator]) -> None:
    """DataError for a model of another format, version or class."""
    saved_as = kind._model_format
    if described.get("format") != saved_as.name:
        raise DataError(
            f"{join(url, MODEL)} should say format {saved_as.name!r}, got "
            f"{described.get('format')!r}"
        )
    if described.get("version") != saved_as.version:
        raise DataError(
            f"{url} is of format version {described.get('version')!r}, this harpy "
            f"({harpy.__version__}) reads {saved_as.version}; it was saved by harpy "
            f"{described.get('harpy')}: load it with that version or a later one"
        )
    if described.get("class") != kind.__name__:
        raise DataError(
            f"{url} holds a {described.get('class')}, not a {kind.__name__}: load it with "
            f"{described.get('class')}.load"
        )
