"""What a misspelled keyword of a call was meant to be."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def says_which_was_meant(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a method whose TypeError for an unknown keyword is to name the one that was meant,
    or all there are where none is like it."""
    known = list(inspect.signature(function).parameters)[1:]  # without self
    name = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for given in kwargs:
            if given not in known:
                close = get_close_matches(given, known, n=1)
                meant = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}"
                raise TypeError(f"{name}() got an unexpected keyword argument {given!r}: {meant}")
        return function(*args, **kwargs)

    return checked
