"""The error of a value that a field of a record does not take, before it is known where it came
from."""

from __future__ import annotations

from typing import Any


class Unfit(ValueError):
    """A value that a field does not take."""

    def __init__(self, expected: str, got: str, path: str = "") -> None:
        super().__init__(f"{path or 'it'} must be {expected}, got {got}")
        self.expected, self.got, self.path = expected, got, path

    def below(self, name: str) -> Unfit:
        """The same, seen from the record or list that holds the value."""
        return Unfit(self.expected, self.got, f"{name}.{self.path}" if self.path else name)


def shown(value: Any) -> str:
    """The beginning of a value, for an error; of an array only what it is."""
    if hasattr(value, "dtype"):
        return f"an array of {value.dtype} {getattr(value, 'shape', '')}"
    try:
        return f"{value!r:.50}"
    except (ValueError, RecursionError):  # an integer of thousands of digits; thousands of lists
        return f"a {type(value).__name__}"
