"""A DNS server on loopback that answers from a table: real packets. Needs the extra `dns`."""

from __future__ import annotations

import socket
from threading import Thread
from types import TracebackType
from typing import Any, Self

from langchain_cluster.extras import need


class NameServer:
    """Answers over UDP, from the moment it is made until `close`.

    Attributes:
        address: "127.0.0.1:port", for `DnsDiscovery(nameservers=[...])`.
        table: (name, record) -> (seconds to live, texts); a name that is not in it does not exist.
        refuses: every answer is a failure of the server (SERVFAIL).
        asked: (name, record) of every question.
    """

    def __init__(self) -> None:
        self._message = need("dns.message", extra="dns", for_="NameServer")
        self._rrset = need("dns.rrset", extra="dns", for_="NameServer")
        self._rcode = need("dns.rcode", extra="dns", for_="NameServer")
        self._flags = need("dns.flags", extra="dns", for_="NameServer")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.table: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.refuses = False
        self.asked: list[tuple[str, str]] = []
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                packet, whence = self._socket.recvfrom(65535)
            except OSError:
                return
            if not packet:
                return
            self._socket.sendto(self._answer(self._message.from_wire(packet)).to_wire(), whence)

    def _answer(self, asked: Any) -> Any:
        (question,) = asked.question
        name, record = question.name.to_text(omit_final_dot=True), question.rdtype.name
        self.asked.append((name, record))
        answer = self._message.make_response(asked)
        answer.flags |= self._flags.RA
        if self.refuses:
            answer.set_rcode(self._rcode.SERVFAIL)
        elif not any(known == name for known, _ in list(self.table)):
            answer.set_rcode(self._rcode.NXDOMAIN)
        elif (name, record) in self.table:
            ttl, texts = self.table[name, record]
            if texts:
                answer.answer.append(self._rrset.from_text(question.name, ttl, "IN", record, *texts))
        return answer

    def close(self) -> None:
        """Answer no more."""
        if self._thread.is_alive():
            host, port = self._socket.getsockname()
            self._socket.sendto(b"", (host, port))  # a thread in recvfrom does not hear a close
            self._thread.join(5)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
