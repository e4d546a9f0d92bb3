"""A server on loopback that says, byte for byte, what a test wants a host of the internet to say."""

import socket
import socketserver
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

Talk = Callable[[socket.socket], None]


class HostileServer(socketserver.ThreadingTCPServer):
    """Reads one request a connection and lets `talks[path]` have the socket."""

    daemon_threads = True
    block_on_close = False  # a talk may be in the middle of dripping

    allow_reuse_address = True

    def __init__(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.context = context
        self.talks: dict[str, Talk] = {}
        self.requests: list[bytes] = []  # as they came, head and body

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def url(self, path: str, talk: Talk | bytes) -> str:
        """Say `talk` to whoever asks for `path`, and return the link to it."""
        self.talks[path] = talk if callable(talk) else lambda sock: sock.sendall(talk)
        return f"http://{self.host}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the client hung up, which is what most of these tests want


class _Handler(socketserver.BaseRequestHandler):
    server: HostileServer

    def handle(self) -> None:
        if self.server.context is None:
            self.talk(self.request)
        else:
            with self.server.context.wrap_socket(self.request, server_side=True) as sock:
                self.talk(sock)

    def talk(self, sock: socket.socket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            piece = sock.recv(65536)
            if not piece:
                return
            asked += piece
        head, _, body = asked.partition(b"\r\n\r\n")
        if b"Content-Length: " in head:
            length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
            while len(body) < length:
                body += sock.recv(65536)
        self.server.requests.append(head + b"\r\n\r\n" + body)
        self.server.talks[head.split(b" ")[1].decode()](sock)


@contextmanager
def serving(context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[HostileServer]:
    with HostileServer(context, port) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def answer(body: bytes = b"", *, status: str = "200 OK", **headers: str) -> bytes:
    """Compose a whole reply; header names are given with underscores."""
    fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body
