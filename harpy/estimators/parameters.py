"""Parameters of an estimator: their defaults, and scikit-learn's validation of what was given. What
they mean is left to the estimators.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from inspect import Signature, signature
from typing import Any, ClassVar

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import validate_parameter_constraints

_PLAIN_VALUES = (int, float, str, bool)  # types of values that never change


class CheckedParameters(BaseEstimator):
    """An estimator whose class says in `_parameter_constraints`, as scikit-learn's do, what its
    parameters may be.

    The first class with an `__init__` gives the defaults, which are not validated and must be
    valid.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {}
    _defaults: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__ and not hasattr(cls, "_defaults"):
            # Computed once: scikit-learn asks for the signature in every call.
            taken = signature(cls.__init__)
            cls.__init__.__signature__ = taken  # type: ignore[attr-defined]
            cls._defaults = {name: given.default for name, given in taken.parameters.items()}

    def _validate_params(self) -> None:
        """As scikit-learn's, but only for values that are not defaults: validating all of them
        takes a seventh of the fit of a small table."""
        if get_config()["skip_parameter_validation"]:
            return
        model: Any = type(self)  # hashable, though type checkers do not see it
        for name, constraints in self._parameter_constraints.items():
            value = getattr(self, name)
            if value is self._defaults.get(name, Signature.empty):
                continue
            kind = type(value)
            if kind in _PLAIN_VALUES:
                _check_plain_value(model, name, value)
            elif not (kind is np.ndarray and value.ndim and "array-like" in constraints):
                _check_value(model, name, value)


def _check_value(model: type[CheckedParameters], name: str, value: Any) -> None:
    """scikit-learn's error where a parameter of `model` is not valid."""
    constraints = {name: model._parameter_constraints[name]}
    validate_parameter_constraints(constraints, {name: value}, caller_name=model.__name__)


@lru_cache(typed=True)
def _check_plain_value(model: type[CheckedParameters], name: str, value: Any) -> None:
    """The same for a value of _PLAIN_VALUES; valid ones are cached and not checked again."""
    _check_value(model, name, value)
