"""What every answer says to browsers: who may frame it, and what it is. (https://owasp.org/www-project-secure-headers)"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}  # a foreign page can't have us clicked
ALIVE = ("/health", "/ready")


def around(app: ASGIApp) -> ASGIApp:
    """The app with these headers, and with HEAD where whoever watches a server asks by it. `receive` stays as it is."""

    async def with_headers(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                message = {**message, "headers": headers.raw}
            await send(message)

        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] in ALIVE:
            scope = {**scope, "method": "GET"}  # the server itself leaves out the body
        await app(scope, receive, sending)

    return with_headers
