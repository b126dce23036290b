"""How the server says no: problem details for HTTP APIs, RFC 9457."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

CONTENT_TYPE = "application/problem+json"
SOON = {"Retry-After": "1"}  # seconds: RFC 9110, section 10.2.3
log = logging.getLogger(__name__)


class FieldError(NamedTuple):
    """A field that is wrong, with dots on the way down to it, and the reason in plain words."""

    field: str
    reason: str


class Problem(Exception):
    """Raised anywhere in a request, it becomes the answer. `detail` is a sentence that says what to do."""

    def __init__(
        self, status: int, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, tuple(errors), dict(headers or {})

    def answer(self) -> JSONResponse:
        body: dict[str, Any] = {
            "type": "about:blank",  # RFC 9457, section 4.2.1: the status says what kind of problem it is
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [error._asdict() for error in self.errors]
        return JSONResponse(body, self.status, self.headers, CONTENT_TYPE)


class ProblemDetails(BaseModel):
    """A refusal, as RFC 9457 describes it. For the documentation."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[Literal["field", "reason"], str]] = []


def install(app: FastAPI) -> None:
    """Every refusal of the app becomes a problem, those of the framework and the unforeseen ones too."""

    @app.exception_handler(Problem)
    async def _(request: Request, problem: Problem) -> JSONResponse:
        return problem.answer()

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        if error.status_code < 400:
            return Response(status_code=error.status_code, headers=error.headers)
        detail = f"{request.method} {request.url.path} can't be answered: {error.detail}. GET /docs lists what can."
        return Problem(error.status_code, detail, headers=error.headers).answer()

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [FieldError(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        return Problem(422, "; ".join(f"{field}: {reason}" for field, reason in errors), errors=errors).answer()

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> JSONResponse:
        return problem_of(request, error).answer()


def problem_of(request: Request, error: Exception) -> Problem:
    """The error itself, if it is a problem. What nobody foresaw is logged, and the sender may try again."""
    if isinstance(error, Problem):
        return error
    log.error("%s %s failed unforeseen", request.method, request.url.path, exc_info=error)
    detail = "The server failed in a way that nobody foresaw; its own log says how. Send the same request again."
    return Problem(503, detail, headers={**SOON, "Connection": "close"})  # Starlette closes it, and says nothing of it
