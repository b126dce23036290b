"""What `/docs` says of the webhook: FastAPI can't know it, for the body is read and checked by hand, byte by byte."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from ecomlib.catalogue import MAX_AMOUNT
from ecomlib.web.problems import CONTENT_TYPE, ProblemDetails
from ecomlib.web.reports import KEY_FORM, OUR_SOURCES, OURS
from ecomlib.web.signatures import HEADER

TIME = "From 1970 on, and no more than a day ahead of the shop's clock."
TEXT = {"type": "string", "minLength": 1, "format": "printable"}  # no control characters, no line ends
ID = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 100, "pattern": r"\S"}, {"type": "integer"}]}
MAYBE_ID = {"anyOf": [*ID["anyOf"], {"type": "null"}], "description": "Without one, nobody gets a message."}
AMOUNT = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,2})?$"},
        {"type": "number", "minimum": 0, "maximum": float(MAX_AMOUNT), "multipleOf": 0.01},
    ],
    "description": "Of the order, in the shop's currency, with two decimal places at most. Text keeps it exact.",
}
REPORT = {
    "type": "object",
    "title": "OrderReport",
    "required": ["order_id", "status"],
    "properties": {
        "order_id": ID,
        "status": {"enum": ["created", "paid", "shipped", "delivered", "cancelled"]},
        "amount": {**AMOUNT, "anyOf": [*AMOUNT["anyOf"], {"type": "null"}]},
        "user_id": MAYBE_ID,
    },
}


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    """Null says nothing."""
    return {"anyOf": [schema, {"type": "null"}]}


def _event(type: str, data: dict[str, Any], *, required: tuple[str, ...] = (), version: Any = None) -> dict[str, Any]:
    """A CloudEvent of that type; `version` is the schema of its `dataversion` where the type has more than one."""
    integer = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
    return {
        "type": "object",
        "title": type,
        "required": ["specversion", "id", "source", "type", "data", *(["dataversion"] if required and version else [])],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": TEXT,
            "source": {**TEXT, "not": {"pattern": f"^({'|'.join(OUR_SOURCES)})(/|$)"}},
            "type": {"const": type},
            **dict.fromkeys(("subject", "correlationid", "causationid", "partitionkey"), _maybe(TEXT)),
            "time": _maybe({"type": "string", "format": "date-time", "description": TIME}),
            "datacontenttype": {"enum": ["application/json", None]},
            "dataversion": version or _maybe({**integer, "minimum": 1}),
            "data": {"type": "object", "required": ["order_id", *required], "properties": {"order_id": ID, **data}},
        },
        "propertyNames": {"pattern": "^[a-z0-9]+$", "not": {"enum": sorted({*OURS, "data_base64"})}},
        "additionalProperties": {"anyOf": [{**TEXT, "minLength": 0}, integer, {"type": ["boolean", "null"]}]},
    }


PAID = {"amount": AMOUNT, "user_id": MAYBE_ID}
EVENT = {
    "oneOf": [
        _event("order.created", PAID),
        _event("order.updated", {"amount": AMOUNT}, required=("amount",)),
        _event("order.paid", PAID, version={"enum": [1, None]}),
        _event(
            "order.paid", PAID, required=("amount",), version={"type": "integer", "minimum": 2, "maximum": 2**31 - 1}
        ),
        _event("order.shipped", {}),
        _event("order.delivered", {}),
        _event("order.cancelled", {"reason": {"type": ["string", "null"]}}),
    ]
}
CREATED = {
    "specversion": "1.0",
    "id": "17",
    "source": "https://partner.example/orders",
    "type": "order.created",
    "time": "2026-01-05T09:00:00Z",
    "data": {"order_id": "123", "amount": "49.90", "user_id": "100"},
}


def example(summary: str, value: Any) -> dict[str, Any]:
    return {"summary": summary, "value": value}


PLAIN = {
    "paid": example("A payment, as in the original", {"order_id": 123, "status": "paid"}),
    "created": example(
        "A new order of a customer", {"order_id": 123, "status": "created", "amount": "49.90", "user_id": 100}
    ),
}


def header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


KEY = header(
    "Idempotency-Key",
    "Makes the delivery one that may be repeated: the same key gets the first answer again. Not for CloudEvents: their "
    "source and id are the key, and this header says nothing.",
    pattern=f"^{KEY_FORM}$",
)
BODY = {
    "required": True,
    "description": "One order's news. With `ce-` headers, application/json is a CloudEvent's data (binary mode).",
    "content": {
        "application/json": {"schema": REPORT, "examples": PLAIN},
        "application/cloudevents+json": {
            "schema": EVENT,
            "examples": {"created": example("A new order, structured mode", CREATED)},
        },
    },
}
SIGNED = {"type": "apiKey", "in": "header", "name": HEADER, "description": "t=<seconds since 1970>,v1=<HMAC-SHA256>"}
TOKEN = {"type": "http", "scheme": "bearer"}
OPEN = ("/health", "/ready", "/asyncapi.json")


def operation() -> dict[str, Any]:
    """What the route of the webhook can't say of itself."""
    return {"parameters": [KEY], "requestBody": BODY}


def complete(app: FastAPI, *, signed: bool) -> None:
    """Add to the document what a refusal holds and, where requests are signed, who needs a signature or the token."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            document["components"]["schemas"]["ProblemDetails"] = ProblemDetails.model_json_schema()
            if signed:
                document["components"]["securitySchemes"] = {"signature": SIGNED, "token": TOKEN}
                for path, methods in document["paths"].items():
                    scheme = "signature" if path == "/webhook/order" else "token"
                    for method in methods.values():
                        method["security"] = [] if path in OPEN else [{scheme: []}]
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


class Answer(BaseModel):
    """The event is in the log."""

    status: str = "success"
    event_name: str
    message: str
    event_id: str

    model_config = {
        "json_schema_extra": {
            "example": {
                "status": "success",
                "event_name": "order.paid",
                "message": "order.paid of order 123 is in the log. It names no user, so nobody is told.",
                "event_id": "4f0c2f6e-6c0e-5a55-9a25-3d7a2b8f3f10",
            }
        }
    }


REPLAYED = {"Idempotent-Replayed": {"description": "`true`: it was taken before.", "schema": {"const": "true"}}}
REASONS = {
    400: "The body is no JSON in UTF-8, or the Idempotency-Key is none.",
    401: f"The header {HEADER} (for reading: the token) is missing, wrong, too old, or was used already.",
    408: "The body did not come in time.",
    409: "The key came with another request before.",
    413: "The body is too large.",
    415: "The body is of a type that is not read here.",
    421: "Without a secret, the server answers to this machine's own names only.",
    422: "The report or the event is wrong; `errors` names each field and the reason.",
    429: "Too many requests of one client. `Retry-After` says when the next one is welcome.",
    503: "The bus is full: nothing was taken. Or the log can't be written: it may have been taken, and with a key it "
    "is safe to send it again. `Retry-After` says when.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "description": REASONS[status],
            "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
            **({"headers": {"Retry-After": {"schema": {"type": "integer"}}}} if status in (429, 503) else {}),
        }
        for status in statuses
    }
