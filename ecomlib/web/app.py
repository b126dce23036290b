"""The whole server as one FastAPI app: the webhook, the live page, and what tells others how it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ecomlib import live
from ecomlib.web import asyncapi, headers, openapi, problems
from ecomlib.web.feed import Feed
from ecomlib.web.health import Health
from ecomlib.web.hosts import is_this_machine, name_in
from ecomlib.web.metrics import Metrics
from ecomlib.web.problems import Problem
from ecomlib.web.signatures import check_token
from ecomlib.webhook import Webhook

PATH = "/webhook/order"
COOKIE = "ecomlib_token"
ABOUT = (
    "Other systems report here what happened to an order. `POST /webhook/order` takes the original's JSON, and "
    "CloudEvents over HTTP, structured and binary. A delivery with a key may be repeated: it has one effect."
)


def create_app(webhook: Webhook, feed: Feed) -> ASGIApp:
    """The bus of the webhook's shop is started and stopped by others; the feed runs as long as the app does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(feed.run())
        yield
        feed.close()
        await following

    app = FastAPIOffline(title="The shop's webhook", version="1", description=ABOUT, lifespan=lifespan, redoc_url=None)
    app.router.redirect_slashes = False  # a redirect would go to whatever the request calls us
    shop, rules = webhook.shop, webhook.rules
    health = Health(shop)
    document = asyncapi.document()
    metrics = Metrics(
        shop.bus, workers=lambda: shop.bus.workers, readers=lambda: feed.readers, dropped=lambda: feed.dropped
    )
    problems.install(app)

    def from_here(request: Request) -> None:
        """Without a secret, a page from elsewhere must not reach us by a name that it made point to this machine."""
        asked = request.headers.get("host", "")
        if not rules.secrets and not is_this_machine(name_in(asked)):
            raise Problem(421, f"Without a secret this server is for this machine only, not for {asked!r:.80}.")

    async def allowed(request: Request) -> None:
        from_here(request)
        if rules.token and request.url.path == "/" and (token := request.query_params.get("token")):
            check_token(rules.token, f"Bearer {token}", None)
            secure = "; Secure" if request.url.scheme == "https" else ""
            cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/{secure}"
            raise HTTPException(303, headers={"Location": "/", "Set-Cookie": cookie})  # so that no link shows it
        check_token(rules.token, request.headers.get("authorization"), request.cookies.get(COOKIE))

    async def take(request: Request) -> Response:
        try:
            from_here(request)
            answer = await webhook.receive(request)
        except Exception as error:
            problem = problems.problem_of(request, error)
            metrics.answered("refused", problem.status)
            return problem.answer()
        metrics.answered("replayed" if "idempotent-replayed" in answer.headers else "accepted", answer.status_code)
        return answer

    app.post(
        PATH,
        status_code=202,
        summary="Report what happened to an order",
        response_model=openapi.Answer,
        responses={
            202: {"headers": openapi.REPLAYED},
            **openapi.refusals(400, 401, 408, 409, 413, 415, 421, 422, 429, 503),
        },
        openapi_extra=openapi.operation(),
    )(take)

    @app.get("/health", summary="Whether the server is alive")
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready", summary="Whether it can take reports", responses=openapi.refusals(503))
    def ready() -> dict[str, str]:
        if troubles := health.troubles():
            raise Problem(503, " ".join(troubles), headers={"Retry-After": "5"})
        return {"status": "ready"}

    reading: dict[str, Any] = {"dependencies": [Depends(allowed)], "responses": openapi.refusals(401, 421)}

    @app.get("/analytics", summary="The totals", **reading)
    def totals() -> dict[str, int | str]:
        return shop.totals()

    @app.get(
        "/metrics", summary="The server's own numbers, for Prometheus", response_class=PlainTextResponse, **reading
    )
    def numbers(request: Request) -> Response:
        text, content_type = metrics.text(request.headers.get("accept", ""))
        return Response(text, media_type=content_type)

    @app.get("/asyncapi.json", summary="The shop's events, as an AsyncAPI 3 document")
    async def events() -> dict[str, Any]:
        return document

    app.include_router(live.router(feed, allowed))
    openapi.complete(app, signed=bool(rules.secrets))
    documented = next(route for route in app.routes if getattr(route, "path", "") == PATH)

    async def straight(scope: Scope, receive: Receive, send: Send) -> None:
        """Reports take the short way: FastAPI's own, past all that a route might need, costs more than the log does."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            return await app(scope, receive, send)
        scope["route"] = documented
        answer = await take(Request(scope, receive))
        await answer(scope, receive, send)

    return headers.around(metrics.around(straight))
