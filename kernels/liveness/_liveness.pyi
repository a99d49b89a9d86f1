class Pulse:
    """Heartbeats from a native thread, every `interval_s` seconds. They go on while this process
    computes or holds the interpreter's lock, and cease when it is stopped or gone.

    The thread runs until the object is gone. A forked child has the object, but not the thread.

    Parameters
    ----------
    interval_s : float
        Seconds between two heartbeats.
    """

    def __init__(self, interval_s: float) -> None: ...
    def attach_launcher(self, input: int, output: int) -> None:
        """Send heartbeats to the launcher: `heartbeat` lines on the descriptor `output`. When
        `input` ends, or nobody reads `output`, this process ends with all that it started, exit
        code 75."""

    def pause_lines(self, value: bool) -> None:
        """Write no heartbeat line while `value` is true."""

    def add(self, socket: int) -> int:
        """Exchange heartbeats over a connected socket, given by its descriptor, which the thread
        owns from now on. Returns the peer's number."""

    def remove(self, number: int) -> None:
        """Close the connection to that peer."""

    def silent_for(self, number: int) -> float:
        """Seconds since that peer's last byte. Time for which this process itself was stopped does
        not count."""

    def end_peer(self, number: int) -> None:
        """End that peer's process at once, whatever it is doing."""

    def was_terminated(self, number: int) -> bool:
        """Whether SIGTERM ended that peer's process, which its handler reports before it ends."""

    def report_termination(self) -> None:
        """From now on report it to the peers, at most 64 of them, when SIGTERM ends this process.
        The handler is native: Python's own would wait until native code returns."""
