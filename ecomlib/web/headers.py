"""What every answer says to browsers: who may frame it, and what it is. (https://owasp.org/www-project-secure-headers)"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = ((b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"))  # no foreign page has us clicked
ALIVE = ("/health", "/ready")


def around(app: ASGIApp) -> ASGIApp:
    """The app with these headers, and with HEAD where whoever watches a server asks by it. `receive` stays as it is."""

    async def with_headers(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = list(message.get("headers", []))
                names = {name for name, _ in said}
                message = {**message, "headers": said + [header for header in HEADERS if header[0] not in names]}
            await send(message)

        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] in ALIVE:
            scope = {**scope, "method": "GET"}  # the server itself leaves out the body
        await app(scope, receive, sending)

    return with_headers
