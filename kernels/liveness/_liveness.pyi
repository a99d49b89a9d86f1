class Pulse:
    """Signs of life from a thread of its own, every `interval_s` seconds: while this process
    computes, or holds the interpreter's lock, it still beats; stopped, or gone, it does not.

    The thread runs until the object is gone. A forked child has the object, but not the thread.
    """

    def __init__(self, interval_s: float) -> None: ...
    def tie(self, input: int, output: int) -> None:
        """Beat towards the launcher: `heartbeat` lines on the descriptor `output`. The end of
        `input`, or nobody reading `output`, ends this process with all it started, exit code 75."""

    def hush(self, value: bool) -> None:
        """Write no such line while `value`."""

    def add(self, socket: int) -> int:
        """Beat on a connected socket, given by its descriptor, which is the thread's from now on,
        and listen to the other end; the peer's number."""

    def remove(self, number: int) -> None:
        """Close that connection."""

    def silent_for(self, number: int) -> float:
        """Seconds for which that peer has said nothing. Time for which this process was stopped
        itself does not count."""

    def order_end(self, number: int) -> None:
        """Have that peer's process end at once, whatever it does."""

    def was_terminated(self, number: int) -> bool:
        """Whether that peer was told to end from outside (SIGTERM), and said so before it did."""

    def bid_farewell(self) -> None:
        """From now on say so to the peers, at most 64 of them, when SIGTERM ends this process. The
        handler is C's: Python's own for that signal would wait for native code to return."""
