"""The base of everything that travels: a frozen dataclass whose annotations say how each field is
written and what is accepted when it is read. Both ends of a record are the same class.

Owns the checks and their messages; the records themselves are left to the modules beside this one.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from harpy.errors import ConfigError, ProtocolError
from harpy.wire.unfit import Unfit, shown

LARGEST = (1 << 63) - 1
LONGEST_NAME = 4_000  # characters; an address or a host's name is far shorter
LONGEST_TEXT = 64 << 10  # reasons, messages and the end of a traceback


class Record:
    """Base of the dataclasses that travel.

    A field whose annotation is a plain type is checked for that type; `Annotated[int, Whole(1)]`
    says more. A field without a default must be there, and no other may.
    """

    NAME: ClassVar[str] = ""  # in errors

    def to_wire(self) -> dict[str, Any]:
        """Its fields as JSON values; arrays stay arrays, which only a control frame takes.

        Returns
        -------
        dict
        """
        return {name: kind.write(getattr(self, name)) for name, kind in self.kinds()}

    @classmethod
    def kinds(cls) -> tuple[tuple[str, Kind], ...]:
        """The names of its fields and how they travel, in order.

        Returns
        -------
        tuple of (str, Kind)
        """
        record: Any = cls
        return _kinds_of(record)

    @classmethod
    def from_wire(cls, value: Any) -> Self:
        """The record that `to_wire` wrote.

        Parameters
        ----------
        value : Any
            What came.

        Returns
        -------
        Record

        Raises
        ------
        ProtocolError
            A field is missing, unknown or malformed: names the record, the field, what was
            expected and what came.
        """
        try:
            return cls.read(value)
        except Unfit as exc:
            raise ProtocolError(f"malformed {cls.NAME or cls.__name__}: {exc}") from None

    @classmethod
    def read(cls, value: Any) -> Self:
        """As `from_wire`, for a caller that adds where the value comes from.

        Parameters
        ----------
        value : Any
            What came.

        Returns
        -------
        Record

        Raises
        ------
        Unfit
            A field is missing, unknown or malformed.
        """
        if not isinstance(value, Mapping):
            raise Unfit("an object", shown(value))
        record: Any = cls
        known, needed = {}, _required(record)
        for name, kind in cls.kinds():
            if name in value:
                try:
                    known[name] = kind.read(value[name])
                except Unfit as exc:
                    raise exc.below(name) from None
            elif name in needed:
                raise Unfit(kind.description, "nothing", name)
        if len(known) < len(value):
            unknown = next(str(name) for name in value if name not in known)
            names = ", ".join(name for name, _ in cls.kinds()) or "none"
            raise Unfit(names, f"also {unknown!r:.50}", "fields")
        try:
            return cls(**known)
        except ConfigError as exc:
            raise Unfit("consistent", str(exc), "fields") from None


# -- kinds of fields ---------------------------------------------------------------------------


class Kind:
    """How one field travels: what `write` gives, `read` takes or refuses with Unfit."""

    description = "anything"

    def write(self, value: Any) -> Any:
        """The value as JSON, or as an array."""
        return value

    def read(self, value: Any) -> Any:
        """The value that was written."""
        if not self.fits(value):
            raise Unfit(self.description, shown(value))
        return value

    def fits(self, value: Any) -> bool:
        """Whether a value of this kind could have been written so."""
        return True


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number within bounds."""

    lowest: int
    highest: int = LARGEST

    @property
    def description(self) -> str:  # type: ignore[override]
        """As `Kind.description`."""
        highest = "2^63 - 1" if self.highest == LARGEST else str(self.highest)
        return f"a whole number from {self.lowest} to {highest}"

    def fits(self, value: Any) -> bool:
        """As `Kind.fits`."""
        return type(value) is int and self.lowest <= value <= self.highest


@dataclass(frozen=True)
class Text(Kind):
    """A string of bounded length."""

    longest: int = LONGEST_TEXT
    shortest: int = 0

    @property
    def description(self) -> str:  # type: ignore[override]
        """As `Kind.description`."""
        shortest = f"{self.shortest} to " if self.shortest else "up to "
        return f"text of {shortest}{self.longest} characters"

    def fits(self, value: Any) -> bool:
        """As `Kind.fits`."""
        return isinstance(value, str) and self.shortest <= len(value) <= self.longest


class Real(Kind):
    """A number; NaN and infinities are numbers."""

    description = "a number"

    def fits(self, value: Any) -> bool:
        """As `Kind.fits`."""
        return type(value) in (int, float)


class Flag(Kind):
    """True or false."""

    description = "true or false"

    def fits(self, value: Any) -> bool:
        """As `Kind.fits`."""
        return isinstance(value, bool)


class Array(Kind):
    """An array of numbers or fixed-length strings, which a frame carries beside its JSON."""

    description = "an array"

    def fits(self, value: Any) -> bool:
        """As `Kind.fits`."""
        return hasattr(value, "dtype") and hasattr(value, "nbytes")


class Object(Kind):
    """Names and whatever a program put there."""

    description = "an object"

    def write(self, value: Any) -> Any:
        """As `Kind.write`."""
        return dict(value)

    def fits(self, value: Any) -> bool:
        """As `Kind.fits`."""
        return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


class Scalars(Object):
    """Names and single values, for people."""

    description = "an object of numbers, texts, true, false and null"

    def fits(self, value: Any) -> bool:
        """As `Kind.fits`."""
        return super().fits(value) and all(
            item is None or isinstance(item, bool | int | float | str) for item in value.values()
        )


class Texts(Object):
    """Names and texts."""

    description = "an object of texts"

    def fits(self, value: Any) -> bool:
        """As `Kind.fits`."""
        return super().fits(value) and all(isinstance(item, str) for item in value.values())


class Names(Kind):
    """A set of names, as a sorted list."""

    description = "a list of names"

    def write(self, value: Any) -> list[str]:
        """As `Kind.write`."""
        return sorted(value)

    def read(self, value: Any) -> frozenset[str]:
        """As `Kind.read`."""
        return frozenset(super().read(value))

    def fits(self, value: Any) -> bool:
        """As `Kind.fits`."""
        return isinstance(value, list) and all(isinstance(item, str) for item in value)


@dataclass(frozen=True)
class Nullable(Kind):
    """Another kind, or nothing."""

    inner: Kind

    @property
    def description(self) -> str:  # type: ignore[override]
        """As `Kind.description`."""
        return f"{self.inner.description} or null"

    def write(self, value: Any) -> Any:
        """As `Kind.write`."""
        return None if value is None else self.inner.write(value)

    def read(self, value: Any) -> Any:
        """As `Kind.read`."""
        if value is None:
            return None
        try:
            return self.inner.read(value)
        except Unfit as exc:
            raise exc if exc.path else Unfit(self.description, exc.got) from None


@dataclass(frozen=True)
class Listed(Kind):
    """A list of another kind."""

    inner: Kind

    @property
    def description(self) -> str:  # type: ignore[override]
        """As `Kind.description`."""
        return f"a list, each {self.inner.description}"

    def write(self, value: Any) -> list[Any]:
        """As `Kind.write`."""
        return [self.inner.write(item) for item in value]

    def read(self, value: Any) -> tuple[Any, ...]:
        """As `Kind.read`."""
        if not isinstance(value, list):
            raise Unfit(self.description, shown(value))
        return tuple(self._items(value))

    def _items(self, value: list[Any]) -> Iterator[Any]:
        for number, item in enumerate(value):
            try:
                yield self.inner.read(item)
            except Unfit as exc:
                raise exc.below(str(number)) from None


@dataclass(frozen=True)
class Nested(Kind):
    """A record within a record."""

    record: type[Record]

    @property
    def description(self) -> str:  # type: ignore[override]
        """As `Kind.description`."""
        return f"an object ({self.record.NAME or self.record.__name__})"

    def write(self, value: Any) -> Any:
        """As `Kind.write`."""
        return value.to_wire()

    def read(self, value: Any) -> Any:
        """As `Kind.read`."""
        if not isinstance(value, Mapping):
            raise Unfit(self.description, shown(value))
        return self.record.read(value)


_PLAIN: dict[Any, Kind] = {
    str: Text(),
    bool: Flag(),
    float: Real(),
    Any: Kind(),
    Mapping[str, Any]: Object(),
    Mapping[str, str]: Texts(),
    frozenset[str]: Names(),
}


@cache
def _kinds_of(record: Any) -> tuple[tuple[str, Kind], ...]:
    hints = get_type_hints(record, include_extras=True)
    return tuple((f.name, _kind_of(hints[f.name])) for f in fields(record))


@cache
def _required(record: Any) -> frozenset[str]:
    return frozenset(
        f.name for f in fields(record) if f.default is MISSING and f.default_factory is MISSING
    )


def _kind_of(hint: Any) -> Kind:
    if get_origin(hint) is Annotated:
        kind = hint.__metadata__[0]
        assert isinstance(kind, Kind), hint
        return kind
    if get_origin(hint) in (Union, types.UnionType):
        inner = [one for one in get_args(hint) if one is not type(None)]
        assert len(inner) == 1, hint
        return Nullable(_kind_of(inner[0]))
    if get_origin(hint) is tuple:
        assert get_args(hint)[1:] == (...,), hint
        return Listed(_kind_of(get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, Record):
        return Nested(hint)
    return _PLAIN[hint]


# -- what several records have -----------------------------------------------------------------

Name = Annotated[str, Text(LONGEST_NAME)]
Named = Annotated[str, Text(LONGEST_NAME, shortest=1)]
Count = Annotated[int, Whole(0)]
Rank = Annotated[int, Whole(0)]
Attempt = Annotated[int, Whole(0)]
Port = Annotated[int, Whole(1, 65535)]
Positive = Annotated[int, Whole(1)]
RunNumber = Annotated[int, Whole(1)]
Epoch = Annotated[int, Whole(1)]
