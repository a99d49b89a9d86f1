"""Why a run, a worker or a session failed: one record, wherever it travels, from a worker's
exception through hub, launcher and reports to the driver's error.
"""

from __future__ import annotations

import json
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from harpy.errors import HarpyError, PeerLost, ProgramFailed
from harpy.wire.record import Name, Rank, Record
from harpy.wire.unfit import Unfit

MAX_MESSAGE = 2_000  # characters; a message is a few lines
MAX_DETAIL = 16_000
MAX_LINE = 16_000  # of a failure as a line: Hadoop's text for a failed task is limited
_AROUND_PROGRAMS = ("harpy.gang", "harpy.program")  # the rooms whose code calls a program
MAX_COLUMNS = 500  # of a line of the detail: an exception may carry a whole document


@dataclass(frozen=True)
class Failure(Record):
    """What failed, and where.

    Attributes
    ----------
    kind : str
        Name of a class in harpy.errors.
    message : str
        One or a few lines for people.
    rank, host : int or None, str
        The worker that failed; None and "" where it is not one worker's.
    detail : str
        A traceback, or the end of a log.
    echo : bool
        It only followed another worker's failure.
    """

    NAME = "failure"

    kind: Name
    message: str
    rank: Rank | None = None
    host: Name = ""
    detail: str = ""
    echo: bool = False

    def to_line(self) -> str:
        """The failure as one line for the launcher, shortened from the start of the detail.

        Returns
        -------
        str
            JSON.
        """
        said = self.to_wire()
        # Hadoop's diagnostics encode the line once more.
        while len(json.dumps(json.dumps(said))) > MAX_LINE and said["detail"]:
            said["detail"] = said["detail"][len(said["detail"]) // 2 + 1 :]
        while len(json.dumps(json.dumps(said))) > MAX_LINE and said["message"]:
            said["message"] = said["message"][: len(said["message"]) // 2]
        return json.dumps(said)

    @classmethod
    def from_line(cls, line: str, otherwise: Failure) -> Failure:
        """What a worker said of itself in a line.

        The last line of a worker is never refused: its node may have another version of harpy, and
        then this line alone says why it failed.

        Parameters
        ----------
        line : str
            As `to_line` gave it, or anything else.
        otherwise : Failure
            Has what the line does not say.

        Returns
        -------
        Failure
        """
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            said = {"message": line[:MAX_MESSAGE]}
        known: dict[str, Any] = {}
        for name, kind in cls.kinds():
            with suppress(Unfit, KeyError):
                known[name] = kind.read(said[name])
        known = {name: item for name, item in known.items() if item is not None and item != ""}
        return replace(otherwise, **{**known, "rank": otherwise.rank})

    @classmethod
    def of_exception(
        cls, exc: BaseException, rank: int, host: str, in_program: bool = True
    ) -> Failure:
        """What an exception of a worker means to others.

        Parameters
        ----------
        exc : BaseException
            What was raised.
        rank : int
            Of the worker.
        host : str
            Of the worker.
        in_program : bool, default True
            Whether it was raised under a program: then the detail has its traceback. An error of
            harpy that was raised elsewhere says all in its message.

        Returns
        -------
        Failure
        """
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
    """Whether it is the loss of another worker, or was raised because of one."""
    while exc is not None and not isinstance(exc, PeerLost):
        exc = exc.__cause__ or exc.__context__
    return exc is not None


def _shortened(detail: str) -> str:
    """Cut long lines, then leave out the middle: frames come first, the exception's text last."""
    short = "".join(
        line if len(line) <= MAX_COLUMNS else f"{line[:MAX_COLUMNS]} …\n"
        for line in detail.splitlines(keepends=True)
    )
    if len(short) <= MAX_DETAIL:
        return short
    return f"{short[: MAX_DETAIL // 2]}\n…\n{short[-MAX_DETAIL // 2 :]}"


def _program_frames(exc: BaseException) -> Any:
    """The traceback from the program's first frame on; whole if it has none."""
    start = exc.__traceback__
    while start is not None and start.tb_frame.f_globals.get("__package__") in _AROUND_PROGRAMS:
        start = start.tb_next
    if start is None and isinstance(exc, SyntaxError):
        return None  # it names file and line itself
    return start or exc.__traceback__
