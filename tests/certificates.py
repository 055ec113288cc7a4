"""Certificate authorities for one test, and servers and clients that have a certificate of theirs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

trustme: Any = pytest.importorskip("trustme")


@dataclass(frozen=True)
class Files:
    """Where the certificate to trust is, and one for 127.0.0.1 with its key."""

    ca: str
    cert: str
    key: str


def authority(folder: Path, name: str) -> Files:
    """A new authority, and what it has issued for 127.0.0.1, in files."""
    made = trustme.CA()
    issued = made.issue_cert("127.0.0.1")
    files = Files(*(str(folder / f"{name}-{kind}.pem") for kind in ("ca", "cert", "key")))
    made.cert_pem.write_to_path(files.ca)
    Path(files.cert).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(files.key)
    return files


def server_context(files: Files, *, asks_for_certificates: bool = False) -> ssl.SSLContext:
    """How a server with that certificate speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    if asks_for_certificates:
        context.load_verify_locations(files.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
