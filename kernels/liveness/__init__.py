"""Whether processes are alive, told apart from whether they are busy."""

from harpy.kernels.liveness._liveness import Pulse

__all__ = ("Pulse",)
