"""An echo server, in the ``yield`` notation: one task per connection, spread over all cores.

    python examples/echo.py 7777

Try it with ``nc 127.0.0.1 7777``; Ctrl-C ends it.
"""

import sys
from collections.abc import Generator
from typing import Any

import tonio
from tonio.net import socket


def echo(connection: socket.socket) -> Generator[Any, Any]:
    with connection:
        while data := (yield connection.recv(4096)):
            yield connection.sendall(data)


def serve(port: int) -> Generator[Any, Any]:
    with socket.socket() as listener:
        yield listener.bind(("127.0.0.1", port))
        listener.listen()
        print("listening on {}:{}".format(*listener.getsockname()), flush=True)
        while True:
            connection, _ = yield listener.accept()
            tonio.spawn.without_tracking(echo(connection))


if __name__ == "__main__":
    try:
        tonio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 7777))
    except KeyboardInterrupt:
        print("stopped")
