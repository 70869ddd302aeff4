"""A balancer without any affinity, below a path of its own: requests go to its servers in turn, and each websocket to
another one than its page came from."""

import itertools
import socket
import threading
from collections.abc import Sequence

CHUNK = 65_536


class Balancer:
    """Listens on a loopback port until it is closed. `paths`: what was asked, with the number of the server."""

    def __init__(self, ports: Sequence[int], prefix: str) -> None:
        self._ports, self._prefix = ports, prefix
        self._turns = itertools.cycle(range(len(ports)))
        self._page_from = 0
        self.paths: list[tuple[str, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{prefix}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(browser,), daemon=True).start()

    def _serve(self, browser: socket.socket) -> None:
        """One request on one connection."""
        with browser:
            data = b""
            while b"\r\n\r\n" not in data:
                if not (some := browser.recv(CHUNK)):
                    return
                data += some
            number, asked = self._asked(data)
            with socket.create_connection(("127.0.0.1", self._ports[number])) as server:
                server.sendall(asked)
                back = threading.Thread(target=_pump, args=(browser, server), daemon=True)
                back.start()
                _pump(server, browser)
                back.join()

    def _asked(self, data: bytes) -> tuple[int, bytes]:
        """Which server is asked, and what."""
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin1").split("\r\n")
        verb, path, version = lines[0].split(" ")
        path = path.removeprefix(self._prefix)
        is_socket = any(line.lower() == "upgrade: websocket" for line in lines)
        number = self._choose(path, is_socket, any("text/html" in line for line in lines))
        self.paths.append((path, number))
        kept = [line for line in lines[1:] if is_socket or not line.lower().startswith("connection:")]
        kept += [f"X-Forwarded-Prefix: {self._prefix}", *([] if is_socket else ["Connection: close"])]
        return number, "\r\n".join([f"{verb} {path} {version}", *kept, "", ""]).encode("latin1") + body

    def _choose(self, path: str, is_socket: bool, is_page: bool) -> int:
        if is_socket:
            return (self._page_from + 1) % len(self._ports)
        number = next(self._turns)
        if is_page:
            self._page_from = number
        return number


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(CHUNK):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
