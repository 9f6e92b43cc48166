"""A TCP proxy that can fail, in a process of its own: `Proxy(port)` here, `python proxy.py PORT` there, orders on its stdin.

pass            what comes in goes out
silent          nothing passes; what is held back is delivered late, when the proxy passes again
half            questions pass, of each answer only its first half, until the proxy passes again
slow SECONDS    each answer is so much later
reset           every connection ends with a RST, new ones too
refuse          every connection ends with a RST, and nobody listens any more
"""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys
from contextlib import suppress

_CHUNK = 1 << 16
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """The proxy's process, in front of the loopback port `target`."""

    def __init__(self, target: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._answered())

    def order(self, mode: str) -> None:
        """From now on behave like this."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{mode}\n")
        self._process.stdin.flush()
        assert self._answered() == mode

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answered(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class _Relay:
    def __init__(self, target: int) -> None:
        self._target = target
        self._mode, self._delay_seconds = "pass", 0.0
        self._changed = asyncio.Condition()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def obey(self, order: str) -> None:
        mode, _, argument = order.partition(" ")
        self._delay_seconds = float(argument or 0)
        if mode == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        elif mode != "refuse" and self._server is None:
            await self.listen()
        async with self._changed:
            self._mode = mode
            self._changed.notify_all()
        if mode in ("reset", "refuse"):
            for writer in list(self._writers):
                _reset(writer)

    async def _until_not(self, *modes: str) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._mode not in modes)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode in ("reset", "refuse"):
            _reset(writer)
            return
        self._writers.add(writer)
        await self._until_not("silent")
        try:
            to_store = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
        else:
            self._writers.add(to_store[1])
            await self._relay((reader, writer), to_store)
            self._writers.discard(to_store[1])
        self._writers.discard(writer)

    async def _relay(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        asked = asyncio.Event()
        ways = [
            asyncio.create_task(self._questions(client[0], store[1], asked)),
            asyncio.create_task(self._answers(store[0], client[1], asked)),
        ]
        # A way that ends has passed on all that came by it. What still comes the other way has nobody to go to.
        _, other = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in other:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in (client[1], store[1]):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._until_not("silent")
            asked.set()
            writer.write(chunk)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._until_not("silent")
            if asked.is_set():
                asked.clear()
                await asyncio.sleep(self._delay_seconds)
            if self._mode == "half":
                writer.write(chunk[: len(chunk) // 2])
                chunk = chunk[len(chunk) // 2 :]
                await self._until_not("half", "silent")
            writer.write(chunk)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
    writer.transport.abort()


async def _main(target: int) -> None:
    relay = _Relay(target)
    await relay.listen()
    sys.stdout.write(f"{relay.port}\n")
    sys.stdout.flush()
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    # The end of the orders is the end of whoever gave them.
    while order := (await orders.readline()).decode().strip():
        await relay.obey(order)
        sys.stdout.write(f"{order}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
