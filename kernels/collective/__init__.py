"""Collectives over TCP without the GIL: allreduce, broadcast, allgather, barrier."""

from harpy.kernels.collective._collective import Mesh

__all__ = ["Mesh"]
