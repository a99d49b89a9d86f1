"""What the control messages of all directions have in common: a type beside their fields, and one
reader that refuses messages of another direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, get_args

from harpy.errors import ProtocolError
from harpy.wire.record import Record
from harpy.wire.unfit import Unfit, shown


class Message(Record):
    """One control message; `TYPE` tells it from the others of its direction."""

    TYPE: ClassVar[str]

    def to_wire(self) -> dict[str, Any]:
        """As `Record.to_wire`, with the message's type."""
        return {"type": self.TYPE, **super().to_wire()}

    @classmethod
    def read(cls, value: Any) -> Any:
        """The message of this type; raises Unfit."""
        if not isinstance(value, dict) or value.get("type") != cls.TYPE:
            raise Unfit(f"a message of type {cls.TYPE!r}", shown(value))
        return super().read({name: item for name, item in value.items() if name != "type"})


@dataclass(frozen=True)
class Heartbeat(Message):
    """A sign of life, in either direction. Channel and hub handle it before anything else."""

    TYPE = "heartbeat"


def read_message(value: Any, kinds: Any, sender: object) -> Any:
    """The message that came, of one of the `kinds` (a union of Message classes).

    Raises
    ------
    ProtocolError
        It is of no type of this direction, or a field is missing, unknown or malformed; names
        sender, message and field, what was expected and what came.
    """
    by_type = _by_type(kinds)
    told = value.get("type") if isinstance(value, dict) else None
    kind = by_type.get(told) if isinstance(told, str) else None
    if kind is None:
        raise ProtocolError(
            f"{sender} sent a message of unknown type {shown(told)}; expected one of "
            f"{', '.join(by_type)}"
        )
    try:
        return kind.read(value)
    except Unfit as exc:
        raise ProtocolError(f"{sender} sent a malformed message {told!r}: {exc}") from None


@cache
def _by_type(kinds: Any) -> dict[str, type[Message]]:
    return {kind.TYPE: kind for kind in get_args(kinds) or (kinds,)}
