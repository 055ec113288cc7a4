"""TLS before a server that has none: a real certificate of an authority made for it, on a loopback port."""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
from pathlib import Path
from threading import Thread
from typing import Any, Self

import trustme

from langchain_cluster.testing.server_process import HOST

_MOST = 1 << 16


class TlsFront:
    """Accepts TLS, and passes all on to a port of this machine.

    Args:
        port: where to.
        name: whom the certificate is for.
        mutual: whoever connects has to show a certificate of the same authority.

    Attributes:
        authority, certificate, key: files; the last two are for whoever connects.
    """

    def __init__(self, port: int, *, name: str = HOST, mutual: bool = False) -> None:
        self._to, self._folder = port, tempfile.mkdtemp(prefix="tls-")
        made = trustme.CA()
        self.authority, self.certificate, self.key = (
            str(Path(self._folder, name)) for name in ("authority.pem", "certificate.pem", "key.pem")
        )
        made.cert_pem.write_to_path(self.authority)
        client = made.issue_cert("cache@example.org")
        client.cert_chain_pems[0].write_to_path(self.certificate)
        client.private_key_pem.write_to_path(self.key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.issue_cert(name).configure_cert(self._context)
        if mutual:
            self._context.verify_mode = ssl.CERT_REQUIRED
            made.configure_trust(self._context)
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        Thread(target=self._accept, name="tls-front", daemon=True).start()
        return self

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            Thread(target=self._serve, args=(plain,), name="tls-front", daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(20.0)
            inside = self._context.wrap_socket(plain, server_side=True)
            outside = socket.create_connection((HOST, self._to), timeout=20.0)
        except OSError:
            plain.close()  # no TLS, or a certificate somebody does not accept
            return
        self._open |= {inside, outside}
        Thread(target=self._pass, args=(outside, inside), name="tls-front", daemon=True).start()
        self._pass(inside, outside)

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        one.settimeout(None)
        try:
            while data := one.recv(_MOST):
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            self._open.discard(end)
            end.close()

    def __exit__(self, *details: Any) -> None:
        self._listener.close()
        for end in list(self._open):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        shutil.rmtree(self._folder, ignore_errors=True)
