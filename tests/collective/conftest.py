"""Worlds of ranks in threads, connected by real TCP sockets on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harpy.kernels.collective import Mesh

JOIN_S = 30.0


def tcp_pair(buffer_bytes: int | None) -> tuple[socket.socket, socket.socket]:
    with socket.socket() as listener:
        if buffer_bytes:
            # Accepted sockets inherit it; it must be set before the window is agreed on.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client = socket.socket()
        if buffer_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        if buffer_bytes:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        return client, server


class World:
    """All ranks of one gang in this process."""

    def __init__(self, meshes: list[Mesh]) -> None:
        self.meshes = meshes

    def __len__(self) -> int:
        return len(self.meshes)

    def run(self, program: Callable[[int, Mesh], Any]) -> list[Any]:
        """Call `program(rank, mesh)` on all ranks at once; results or exceptions, by rank."""
        results: list[Any] = ["did not return"] * len(self.meshes)

        def one(rank: int) -> None:
            try:
                results[rank] = program(rank, self.meshes[rank])
            except Exception as exc:
                results[rank] = exc

        threads = [
            threading.Thread(target=one, args=(rank,), daemon=True) for rank in range(len(self))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(JOIN_S)
        return results


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """make_world(size, timeout_s=…, tree_limit=…, buffer_bytes=…) -> World."""
    worlds: list[World] = []

    def make(
        size: int,
        timeout_s: float = 20.0,
        tree_limit: int = 65536,
        buffer_bytes: int | None = None,
        epochs: list[int] | None = None,
    ) -> World:
        fds = [[-1] * size for _ in range(size)]
        for high in range(size):
            for low in range(high):
                a, b = tcp_pair(buffer_bytes)
                fds[high][low], fds[low][high] = a.detach(), b.detach()
        worlds.append(
            World(
                [
                    Mesh(r, size, fds[r], epochs[r] if epochs else 1, timeout_s, tree_limit)
                    for r in range(size)
                ]
            )
        )
        return worlds[-1]

    yield make
    for world in worlds:
        for mesh in world.meshes:
            mesh.close()
