"""How a process ended that did not report why: in words for people, with the likely reason, and the
class of harpy.errors for it. Pure."""

from __future__ import annotations

import signal

_LIKELY = {
    signal.SIGKILL: "if nobody killed it, its machine ran out of memory (dmesg tells): ask for "
    "more n_mem, or for fewer workers on a node",
    signal.SIGSEGV: "native code crashed; the program's lines at that moment should be below",
    signal.SIGABRT: "native code gave up; its last words should be below",
    signal.SIGBUS: "native code crashed, or a disk behind mapped memory is full",
}


def kind_of_ending(code: int) -> str:
    """The name of the class of error for a process that did not report why it ended.

    A signal n is the code -n.
    """
    return "WorkerKilled" if code == -signal.SIGKILL else "WorkerLost"


def ending(code: int, stage: str = "") -> str:
    """Say how it ended, as in "was killed by SIGKILL"; a signal n is the code -n."""
    if code >= 0:
        said = f"ended with exit code {code} without a word{stage}"
        if stage:
            return said
        likely = "the program, or a library, ended its process (os._exit): raise an error instead"
        return f"{said}.\n  Likely: {likely}."
    try:
        number = signal.Signals(-code)
    except ValueError:
        return f"was killed by signal {-code}{stage}"
    killed = f"was killed by {number.name}{stage}"
    return f"{killed}.\n  Likely: {_LIKELY[number]}." if number in _LIKELY else killed
