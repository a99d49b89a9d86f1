"""A proxy that passes on all it is given after a while: `delaying_proxy.py PORT SECONDS`.

Connections come redirected by nft, so that their first aim is known to the kernel.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h


async def pass_on(source: asyncio.StreamReader, aim: asyncio.StreamWriter, delay_s: float) -> None:
    """Bytes leave `delay_s` after they came, in their order, however many are on their way."""
    loop = asyncio.get_running_loop()
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await on_the_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                aim.close()
                return
            aim.write(data)
            await aim.drain()

    delivery = asyncio.create_task(deliver())
    data = b"-"
    while data:
        try:
            data = await source.read(1 << 16)
        except ConnectionError:
            data = b""
        on_the_way.put_nowait((loop.time() + delay_s, data))
    await delivery


async def serve(port: int, delay_s: float) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        packed = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        there, address = struct.unpack("!2xH4s8x", packed)
        try:
            far_reader, far_writer = await asyncio.open_connection(socket.inet_ntoa(address), there)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            pass_on(reader, far_writer, delay_s),
            pass_on(far_reader, writer, delay_s),
            return_exceptions=True,
        )

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
