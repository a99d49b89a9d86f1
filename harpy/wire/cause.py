"""Why a run or a session failed, as it travels: from a worker's exception to the driver's error."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from harpy.errors import HarpyError, PeerLost, ProgramFailed

MAX_MESSAGE = 2_000  # characters; a message is a few lines
MAX_DETAIL = 16_000
_AROUND_PROGRAMS = ("harpy.gang", "harpy.program")  # the rooms whose code calls a program
MAX_COLUMNS = 500  # of a line of the detail: an exception may carry a whole document

_KINDS: dict[str, Any] = {
    "kind": str,
    "message": str,
    "rank": int | None,
    "host": str,
    "echo": bool,
    "detail": str,
}


@dataclass(frozen=True)
class Cause:
    """`kind` names a class of harpy.errors; an echo only followed another worker's failure."""

    kind: str
    message: str
    rank: int | None = None
    host: str = ""
    echo: bool = False
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cause:
        """The other end is authenticated, but may be of another version: take what is known.
        TypeError for what is of no use."""
        said = {"kind": "", "message": "", **value}
        taken = {f.name: said[f.name] for f in fields(cls) if f.name in said}
        for name, item in taken.items():
            if not isinstance(item, _KINDS[name]):
                raise TypeError(f"{name} of a failure cannot be {item!r:.50}")
        return cls(**taken)

    @classmethod
    def of_exception(
        cls, exc: BaseException, rank: int, host: str, in_program: bool = True
    ) -> Cause:
        """What an exception means to others. Errors of harpy that were not raised under a program
        say all in their message."""
        detail = ""
        if in_program or not isinstance(exc, HarpyError):
            detail = "".join(traceback.format_exception(type(exc), exc, _program_frames(exc)))
        if isinstance(exc, HarpyError):
            kind, message = type(exc).__name__, str(exc)
        elif isinstance(exc, SystemExit):
            kind = ProgramFailed.__name__
            message = f"the program called sys.exit({exc.code!r}); return from it instead"
        else:
            kind = ProgramFailed.__name__
            text = str(exc)
            message = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
        return cls(
            kind=kind,
            message=message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} …",
            rank=rank,
            host=host,
            echo=_follows_a_loss(exc),
            detail=_shortened(detail),
        )


def _follows_a_loss(exc: BaseException | None) -> bool:
    """Whether it is, or was raised on account of, the loss of another worker."""
    while exc is not None and not isinstance(exc, PeerLost):
        exc = exc.__cause__ or exc.__context__
    return exc is not None


def _shortened(detail: str) -> str:
    """Long lines cut, then the middle left out: frames come first, the exception's words last."""
    short = "".join(
        line if len(line) <= MAX_COLUMNS else f"{line[:MAX_COLUMNS]} …\n"
        for line in detail.splitlines(keepends=True)
    )
    if len(short) <= MAX_DETAIL:
        return short
    return f"{short[: MAX_DETAIL // 2]}\n…\n{short[-MAX_DETAIL // 2 :]}"


def _program_frames(exc: BaseException) -> Any:
    """The traceback from the program's first frame on; whole if it never got there."""
    start = exc.__traceback__
    while start is not None and start.tb_frame.f_globals.get("__package__") in _AROUND_PROGRAMS:
        start = start.tb_next
    if start is None and isinstance(exc, SyntaxError):
        return None  # it names file and line itself
    return start or exc.__traceback__
