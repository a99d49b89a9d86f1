"""What a person sees while a session works: one live line on a terminal, plain lines elsewhere.

Everything goes to stderr; stdout belongs to results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TextIO

NOTE_S = 5.0  # between iterations shown where stderr is no terminal
# A rank that is busy for this part of its time is slow if all others are for no more than that.
SLOW, QUICK = 0.8, 0.5


class Timings:
    """When a session reached which stage.

    Attributes
    ----------
    reached : dict of str to float
        Stage -> seconds since the session was opened.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.reached: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        """A stage is done now."""
        self.reached[stage] = time.monotonic() - self._started


class Progress:
    """Shows stages and iterations. With `enabled=None` if stderr is a terminal or
    HARPY_PROGRESS=1."""

    def __init__(self, enabled: bool | None = None) -> None:
        import os

        self._terminal = _is_terminal(sys.stderr)
        if enabled is None:
            wish = os.environ.get("HARPY_PROGRESS")
            enabled = self._terminal if wish is None else wish not in ("0", "")
        self.enabled = enabled
        self._started = time.monotonic()
        self._status: Any = None
        self._shown = ""
        self._noted_at = self._started
        self._busy: dict[int, tuple[float, str]] = {}  # rank -> part of its time, host

    def stage(self, text: str) -> None:
        """Enter a stage: shown at once, replacing the line before on a terminal."""
        if not self.enabled or text == self._shown:
            return
        self._shown = text
        if not self._terminal:
            self.note(text)
            return
        from rich.console import Console
        from rich.text import Text

        # Text, not str: what clusters and programs say is not markup.
        line = Text(f"{time.monotonic() - self._started:5.1f} s  {text}")
        if self._status is None:
            self._status = Console(stderr=True).status(line)
            self._status.start()
        self._status.update(line)

    def iteration(self, fraction: float | None, values: Mapping[str, Any]) -> None:
        """One step of the program: `iteration 12, inertia 1.2e6`."""
        if not self.enabled:
            return
        now = time.monotonic()
        if not self._terminal and now - self._noted_at < NOTE_S:
            return
        self._noted_at = now
        words = [f"{name} {_short(value)}" for name, value in values.items()]
        if fraction is not None:
            words.insert(0, f"{100 * fraction:.0f} %")
        words += self._waited_for()
        self.stage(", ".join(words) or "running")

    def pace(self, rank: int, host: str, busy: float) -> None:
        """Note the part of its time that a rank does not wait for others."""
        self._busy[rank] = (busy, host)

    def new_run(self) -> None:
        """Forget the ranks' paces, which are those of another run."""
        self._busy.clear()

    def _waited_for(self) -> list[str]:
        """The text about the one rank that keeps all others waiting, if there is one."""
        ranked = sorted((busy, rank) for rank, (busy, _) in self._busy.items())
        if len(ranked) < 2 or ranked[-1][0] < SLOW or ranked[-2][0] > QUICK:
            return []
        rank = ranked[-1][1]
        waiting = round(100 * (1 - ranked[-2][0]))
        host = self._busy[rank][1]
        return [f"slow: rank {rank} on {host}, for which the others wait {waiting} % of the time"]

    def note(self, text: str) -> None:
        """A line that stays."""
        if not self.enabled:
            return
        line = f"harpy {time.monotonic() - self._started:6.1f} s  {text}"
        if self._status is not None:
            self._status.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the live line."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        self._shown = ""


@lru_cache(maxsize=1)
def _is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal; cached, since asking takes longer than a small iteration."""
    return stream.isatty()


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
