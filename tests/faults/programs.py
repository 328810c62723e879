"""A program whose streams break off at random moments and go on at any of several web processes."""

import json
import random
from uuid import uuid4

import httpx

from tenants.accounts import keys
from tenants.context import run_for
from tests.conftest import host_of
from tests.faults.history import Connection, Door
from tests.processes import NO_TLS

SECONDS = 20


class Program:
    """One conversation over REST. ``ports``: of the web processes."""

    def __init__(self, tenant, ports: list[int]):
        self.tenant, self.ports = tenant, ports
        self.connections: list[Connection] = []
        self.conversation = ""
        self._headers: dict[str, str] = {}

    async def begin(self) -> None:
        """Get a key, and start the conversation."""
        _, key = await run_for(self.tenant, keys.create, name="program", scopes=["conversations:write"], by="a test")
        self._headers = {"host": host_of(self.tenant), "authorization": f"Bearer {key}"}
        made = await self._request("POST", "", json={"end_user": str(uuid4())})
        self.conversation = made["id"]

    async def ask(self, text: str, *, most_events: int = 6) -> dict:
        """Send a message, and read its stream to the end, over as many connections as it takes; the last event."""
        body, last = {"id": str(uuid4()), "text": text}, ""
        while True:
            turn, attempt, n = last.split(":") if last else ("", 1, 0)
            known = {"turn": {"turn": turn, "attempt": int(attempt), "n": int(n)}} if last else {}
            connection = Connection(known, [], [body["id"]])
            self.connections.append(connection)
            last = await self._read(connection, body, last, random.randint(1, most_events)) or last
            if connection.events and connection.events[-1]["type"] == "turn.finished":
                return connection.events[-1]

    async def _read(self, connection: Connection, body: dict, last: str, most_events: int) -> str:
        """The id of the last event that has one."""
        headers = self._headers | {"accept": "text/event-stream"} | ({"last-event-id": last} if last else {})
        async with (
            httpx.AsyncClient(trust_env=False, timeout=SECONDS, verify=NO_TLS) as client,
            client.stream("POST", self._address(self._messages), json=body, headers=headers) as stream,
        ):
            stream.raise_for_status()
            async for line in stream.aiter_lines():
                name, _, value = line.partition(": ")
                last = value if name == "id" else last
                if name == "data":
                    connection.events.append(json.loads(value))
                    if len(connection.events) == most_events:
                        break
        return last

    async def door(self) -> Door:
        """All that it was told, the list of messages included."""
        listed = await self._request("GET", self._messages)
        return Door("program", [*self.connections, Connection(events=[{"type": "history", **listed}])])

    @property
    def _messages(self) -> str:
        return f"{self.conversation}/messages/"

    def _address(self, path: str) -> str:
        return f"http://127.0.0.1:{random.choice(self.ports)}/api/v1/conversations/{path}"

    async def _request(self, method: str, path: str, **body) -> dict:
        options = {"trust_env": False, "timeout": SECONDS, "verify": NO_TLS}
        async with httpx.AsyncClient(headers=self._headers, **options) as client:
            return (await client.request(method, self._address(path), **body)).raise_for_status().json()
