"""What the webhook is compared with: `python -m benchmarks.bare_app` serves all three, and prints their ports.

The first two are what FastAPI's own documentation shows, with a body of the same fields, and an answer of the same
size. They check the report, and forget it. The third does nothing at all: it is what uvicorn allows. They share a
process, since those that are not called cost nothing.
"""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from typing import Any, Literal
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from ecomlib.web.server import listen


class OrderReport(BaseModel):
    order_id: str
    status: Literal["created", "paid", "shipped", "delivered", "cancelled"]
    amount: Decimal | None = None
    user_id: int | None = None


def answer(report: OrderReport) -> dict[str, str]:
    return {
        "status": "success",
        "event_name": f"order.{report.status}",
        "message": f"order.{report.status} of order {report.order_id} is in the log.",
        "event_id": str(uuid4()),
    }


def in_the_loop() -> FastAPI:
    app = FastAPI()

    @app.post("/webhook/order", status_code=202)
    async def receive(report: OrderReport) -> dict[str, str]:
        return answer(report)

    return app


def in_threads() -> FastAPI:
    app = FastAPI()

    @app.post("/webhook/order", status_code=202)
    def receive(report: OrderReport) -> dict[str, str]:
        return answer(report)

    return app


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await receive()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})


async def serve() -> None:
    listeners = [listen("127.0.0.1", 0) for _ in range(3)]
    for listener in listeners:
        listener.listen()  # from now on requests wait
    sys.stdout.write(" ".join(str(listener.getsockname()[1]) for listener in listeners) + "\n")
    sys.stdout.flush()
    # As `ecomlib serve` runs its own: asyncio's loop, and h11.
    options: dict[str, Any] = {"http": "h11", "ws": "none", "log_config": None, "access_log": False}
    servers = [uvicorn.Server(uvicorn.Config(app, **options)) for app in (in_the_loop(), in_threads(), hello)]
    await asyncio.gather(*(server.serve([listener]) for server, listener in zip(servers, listeners, strict=True)))


if __name__ == "__main__":
    asyncio.run(serve())
