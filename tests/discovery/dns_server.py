"""A DNS server on loopback that answers from a table: real packets, to a real resolver."""

from __future__ import annotations

import socket
from threading import Thread
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class DnsServer:
    """Answers over UDP. `table`: (name, record) -> (ttl, texts); `rcode` answers everything with an error."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.table: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.rcode: dns.rcode.Rcode | None = None
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
            self._socket.sendto(self._answer(dns.message.from_wire(packet)).to_wire(), whence)

    def _answer(self, asked: Any) -> Any:
        (question,) = asked.question
        name, record = question.name.to_text(omit_final_dot=True), question.rdtype.name
        self.asked.append((name, record))
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA
        if self.rcode is not None:
            answer.set_rcode(self.rcode)
        elif not any(known == name for known, _ in self.table):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif (name, record) in self.table:
            ttl, texts = self.table[name, record]
            if texts:
                answer.answer.append(dns.rrset.from_text(question.name, ttl, "IN", record, *texts))
        return answer

    def close(self) -> None:
        host, port = self._socket.getsockname()
        self._socket.sendto(b"", (host, port))  # a thread in recvfrom does not hear a close
        self._thread.join(5)
        self._socket.close()
