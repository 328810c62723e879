"""A name server over UDP that knows what a test tells it, and fails as it is told.

with dns_server() as dns:
    dns.txt("_atrium.chat.example.com", "atrium-verify=…")    # several texts: several records
    dns.alias("_atrium.chat.example.com", "proof.example.net")
    dns.fails("_atrium.chat.example.com")                       # SERVFAIL
    dns.is_silent("_atrium.chat.example.com")
    dns.forget("_atrium.chat.example.com")                      # NXDOMAIN, as of every name it does not know
    ...  # ask it at 127.0.0.1, dns.port
    dns.asked                                                   # the names that were asked for
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingUDPServer

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL = 60


def quoted(text: str | list[str]) -> str:
    """One TXT record as in a zone file; a list is its pieces, a string is cut where it has to be."""
    pieces = text if isinstance(text, list) else [text[at : at + 255] for at in range(0, len(text) or 1, 255)]
    return " ".join(f'"{piece}"' for piece in pieces)


class DnsServer:
    """What the server knows. Names are written without a trailing dot."""

    def __init__(self):
        self.port = 0
        self.asked: list[str] = []
        self._records: dict[str, list[tuple[str, str]]] = {}
        self._failing: set[str] = set()
        self._silent: set[str] = set()

    def txt(self, name: str, *texts: str | list[str]) -> None:
        """The name's TXT records from now on."""
        self._set(name, [("TXT", quoted(text)) for text in texts])

    def alias(self, name: str, to: str) -> None:
        """The name is another's alias from now on."""
        self._set(name, [("CNAME", f"{to}.")])

    def exists(self, name: str) -> None:
        """The name has an address and no TXT record from now on."""
        self._set(name, [("A", "192.0.2.1")])

    def forget(self, name: str) -> None:
        """No such name from now on."""
        self._set(name, [])

    def fails(self, name: str) -> None:
        """SERVFAIL for the name, until it is set again."""
        self._failing.add(name)

    def is_silent(self, name: str) -> None:
        """No answer about the name, until it is set again."""
        self._silent.add(name)

    def _set(self, name: str, records: list[tuple[str, str]]) -> None:
        self._failing.discard(name)
        self._silent.discard(name)
        self._records[name] = records

    def answer(self, sent: bytes) -> bytes | None:
        """The answer to one packet; None for silence."""
        query = dns.message.from_wire(sent)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        if name in self._silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if name in self._failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._fill(response, name, dns.rdatatype.to_text(question.rdtype))
        return response.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        records = self._records.get(name, [])
        if not records:
            response.set_rcode(dns.rcode.NXDOMAIN)
        for found, value in records:
            if found in (kind, "CNAME"):
                response.answer.append(dns.rrset.from_text(f"{name}.", TTL, "IN", found, value))
            if found == "CNAME":
                self._fill(response, value.removesuffix("."), kind)


@contextmanager
def dns_server() -> Iterator[DnsServer]:
    """A server on a free port of this machine."""
    known = DnsServer()

    class Handler(BaseRequestHandler):
        def handle(self):
            packet, socket = self.request
            if answer := known.answer(packet):
                socket.sendto(answer, self.client_address)

    with ThreadingUDPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        known.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield known
        server.shutdown()
