"""Refuses request bodies that are larger than any of ours, before they are written to the disk, or slower."""

import asyncio

from django.conf import settings

FORM_BYTES = 1024 * 1024  # what a form adds around its file
TOO_LARGE, TOO_SLOW = 413, 408
TEXTS = {TOO_LARGE: b"The request is too large.", TOO_SLOW: b"The request came too slowly."}


class LimitedBody:
    """ASGI middleware: 413 at once for a body that says it is too large, and for one that turns out to be.

    408 for one that is not there in time: ``settings.BODY_SECONDS``, and more the more of it has come.
    """

    def __init__(self, inner):
        self.inner = inner
        self.most = settings.UPLOAD_BYTES + FORM_BYTES

    async def __call__(self, scope, receive, send):
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.most:
            await _refuse(send, TOO_LARGE)
            return
        body = _Body(receive, send, self.most)
        await self.inner(scope, body.receive, body.send)


class _Body:
    """One request's body on its way in. Once refused, the application is told that the client has gone."""

    def __init__(self, receive, send, most: int):
        self._receive, self._send, self._most = receive, send, most
        self._counted, self._whole, self._refused = 0, False, False
        self._begun = asyncio.get_running_loop().time()

    async def receive(self):
        if self._refused:
            return {"type": "http.disconnect"}
        if self._whole:  # from here on it waits for the client to go
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline()):
                message = await self._receive()
        except TimeoutError:
            return await self._refuse(TOO_SLOW)
        self._counted += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        return await self._refuse(TOO_LARGE) if self._counted > self._most else message

    async def send(self, message):
        if not self._refused:
            await self._send(message)

    def _deadline(self) -> float:
        return self._begun + settings.BODY_SECONDS + self._counted / settings.BODY_BYTES_PER_SECOND

    async def _refuse(self, status: int):
        self._refused = True
        await _refuse(self._send, status)
        return {"type": "http.disconnect"}


async def _refuse(send, status: int) -> None:
    text = TEXTS[status]
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
