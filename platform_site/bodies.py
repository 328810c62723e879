"""Refuses request bodies that are larger than any of ours, before they are written to the disk."""

from django.conf import settings

FORM_BYTES = 1024 * 1024  # what a form adds around its file
TEXT = b"The request is too large."


class LimitedBody:
    """ASGI middleware: 413 at once for a body that says it is too large, and for one that turns out to be."""

    def __init__(self, inner):
        self.inner = inner
        self.most = settings.UPLOAD_BYTES + FORM_BYTES

    async def __call__(self, scope, receive, send):
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.most:
            await _refuse(send)
            return
        counted, refused = 0, False

        async def receive_counted():
            nonlocal counted, refused
            message = await receive()
            counted += len(message.get("body", b""))
            if counted > self.most and not refused:
                refused = True
                await _refuse(send)
            return {"type": "http.disconnect"} if refused else message

        async def send_unless_refused(message):
            if not refused:
                await send(message)

        await self.inner(scope, receive_counted, send_unless_refused)


async def _refuse(send) -> None:
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(TEXT)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": TEXT})
