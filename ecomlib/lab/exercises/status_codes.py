"""Exercise 05.1: the right status code, for a function that FastAPI calls; the bug to spot is one that says yes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException

from ecomlib.lab.exercises.exercise import Exercise

PAIR = "The status code is 200, for FastAPI makes a list of the pair. Raise an HTTPException with the code."
GIVEN_BACK = "You give the HTTPException back, so it becomes a body, and the code is 200. It must be raised."
A_NUMBER = "You give a number back, so it becomes the body, and the code is 200. Raise an HTTPException with the code."
IN_THE_BODY = "The mistake stands in the body, but the status code says yes, and that is all that a program reads."
LACKS_A_FIELD = "A report that lacks a field gets a yes. Look for both: order_id and status."
FOR_EVER = (
    "A report that lacks a field gets a code of 500 or more: our mistake. So the partner sends it again, for ever."
)
GIVES_UP = "The mail server is down, and your code says: your mistake. The partner never sends this report again."
SAYS_YES = "The mail server is down, and your code says yes. The partner forgets the report, and no email goes out."
NO_YES = "A good report gets no yes. When send_email has done its work, give back a dict: its code is 200."
NOT_SENT = "A good report gets a yes, but send_email(report) was never called: no email goes out."
SENT_ANYWAY = "A report that lacks a field was sent as an email all the same. Look first, then send."
NO_SUCCESS = 'The answer to a good report is {"status": "success"}: give back this dict, and nothing beside it.'
NOT_THE_REPORT = "A good report is one email, made of the report: call send_email(report), once."
LATER = "That code (408, 425, 429) says: send the same again, later. But this report will lack its field for ever."
NEITHER = "That code is neither a yes nor a no: use one from 400 on for the partner's mistake, from 500 on for ours."
AGAIN = (408, 425, 429)  # RFC 9110, 8470 and 6585: of the codes below 500, those with which the same may come again
GOOD = {"order_id": 123, "status": "paid"}


def judge_receive(answer: Any) -> str | None:
    sent: list[dict[str, Any]] = []

    def send(report: dict[str, Any]) -> None:
        sent.append(report)

    code, body = _served(answer, dict(GOOD), send, strict=True)
    if code // 100 != 2:
        return NO_YES
    if not sent:
        return NOT_SENT
    if sent != [GOOD]:
        return NOT_THE_REPORT
    if not isinstance(body, dict) or body.get("status") != "success":
        return NO_SUCCESS
    for missing in GOOD:
        sent.clear()
        code, body = _served(answer, {name: value for name, value in GOOD.items() if name != missing}, send)
        if sent:
            return SENT_ANYWAY
        if code // 100 == 2:
            return _yes_by_mistake(body)
        if code // 100 != 4:
            return FOR_EVER if code // 100 == 5 else NEITHER
        if code in AGAIN:
            return LATER

    def fails(report: object) -> None:
        raise ConnectionError("the mail server is down")

    code, body = _served(answer, dict(GOOD), fails)
    if code // 100 == 2:
        hint = _yes_by_mistake(body)
        return SAYS_YES if hint == LACKS_A_FIELD else hint
    return {3: NEITHER, 4: GIVES_UP}.get(code // 100)


def _yes_by_mistake(body: Any) -> str:
    if isinstance(body, list):
        return PAIR
    if isinstance(body, dict) and "status_code" in body:
        return GIVEN_BACK
    if type(body) is int:
        return A_NUMBER
    says_yes = body is None or (isinstance(body, dict) and body.get("status") == "success")
    return LACKS_A_FIELD if says_yes else IN_THE_BODY


def _served(
    answer: Any, report: dict[str, Any], send: Callable[..., object], *, strict: bool = False
) -> tuple[int, Any]:
    """The status code and the body that FastAPI makes of what the answer gives back, or raises.

    The answer runs in the caller's thread, where it can be stopped. `strict`: what it raises comes out.
    """
    outcome, raised = None, None
    try:
        outcome = answer(report, send)
        if inspect.iscoroutine(outcome):
            outcome = asyncio.run(outcome)
    except Exception as error:
        if strict and not isinstance(error, HTTPException):
            raise
        raised = error

    app = FastAPI()

    @app.post("/webhook/order", response_model=None)  # as for a function without annotations
    async def endpoint() -> Any:
        if raised is not None:
            raise raised
        return outcome

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=strict)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            return await client.post("/webhook/order")

    told = asyncio.run(ask())
    return told.status_code, told.json() if "json" in told.headers.get("content-type", "") and told.content else None


def _receive(*lines: str) -> str:
    return "from fastapi import HTTPException\n\n\ndef receive(report, send_email):\n" + "\n".join(
        f"    {x}" for x in lines
    )


_LACKS = "if 'order_id' not in report or 'status' not in report:"
_SENDS = ("send_email(report)", "return {'status': 'success'}")
RECEIVE = Exercise(
    id="05.1",
    name="receive",
    blank="def receive(report, send_email):\n    ...  # yes, no: your mistake, or no: our mistake",
    judge=judge_receive,
    right="Right: the code tells the partner to forget the report, to repair it, or to send it again.",
    nudge="raise HTTPException(422, 'a sentence') says: your mistake. And what does FastAPI do when send_email raises?",
    wrong=(
        (
            _receive(
                "try:",
                "    text = report['order_id'], report['status']",
                "    send_email(report)",
                "    return {'status': 'success'}",
                "except KeyError as missing:",
                "    return {'error': f'{missing} is missing'}, 500",
            ),
            PAIR,
        ),
        (
            _receive("try:", *(f"    {x}" for x in _SENDS), "except Exception as e:", "    return str(e), 500"),
            SENT_ANYWAY,
        ),
        (_receive(_LACKS, "    return {'error': 'a field is missing'}, 422", *_SENDS), PAIR),
        (_receive(_LACKS, "    return {'status': 422, 'error': 'a field is missing'}", *_SENDS), IN_THE_BODY),
        (_receive(_LACKS, "    return HTTPException(422, 'a field is missing')", *_SENDS), GIVEN_BACK),
        (_receive(_LACKS, "    return 400", *_SENDS), A_NUMBER),
        (_receive(_LACKS, "    return 'a field is missing'", *_SENDS), IN_THE_BODY),
        (_receive(_LACKS, "    return", *_SENDS), LACKS_A_FIELD),
        (_receive(_LACKS, "    raise HTTPException(429, 'a field is missing')", *_SENDS), LATER),
        (_receive("if 'order_id' not in report:", "    raise HTTPException(422)", *_SENDS), SENT_ANYWAY),
        (
            _receive("if 'status' in report and 'order_id' in report:", "    send_email(report)", _SENDS[1]),
            LACKS_A_FIELD,
        ),
        (_receive(_LACKS, "    raise HTTPException(500, 'a field is missing')", *_SENDS), FOR_EVER),
        (_receive("(report['order_id'], report['status'])", *_SENDS), FOR_EVER),
        (
            _receive(
                "try:",
                "    text = report['order_id'], report['status']",
                "    send_email(report)",
                "except Exception as error:",
                "    raise HTTPException(422, str(error))",
                "return {'status': 'success'}",
            ),
            GIVES_UP,
        ),
        (
            _receive(
                _LACKS,
                "    raise HTTPException(422)",
                "try:",
                "    send_email(report)",
                "except Exception as error:",
                "    return {'error': str(error)}, 500",
                "return {'status': 'success'}",
            ),
            PAIR,
        ),
        (
            _receive(
                _LACKS,
                "    raise HTTPException(422)",
                "try:",
                "    send_email(report)",
                "finally:",
                "    return {'status': 'success'}",
            ),
            SAYS_YES,
        ),
        (
            _receive(
                _LACKS,
                "    raise HTTPException(422)",
                "try:",
                "    send_email(report)",
                "except Exception:",
                "    return 500",
                "return {'status': 'success'}",
            ),
            A_NUMBER,
        ),
        (_receive(_LACKS, "    raise HTTPException(422)", "send_email(report=report)"), NO_SUCCESS),
        (
            _receive(_LACKS, "    raise HTTPException(422)", "send_email(report)", "return {'status': 'error'}"),
            NO_SUCCESS,
        ),
        (
            _receive(_LACKS, "    raise HTTPException(422)", "send_email(report)", "return {'status': 'success'}, 200"),
            NO_SUCCESS,
        ),
        (_receive(_LACKS, "    raise HTTPException(422)", "send_email(report['status'])", _SENDS[1]), NOT_THE_REPORT),
        (_receive(_LACKS, "    raise HTTPException(422)", "send_email(report)", *_SENDS), NOT_THE_REPORT),
        (_receive("raise HTTPException(202, 'taken')"), NOT_SENT),
        (_receive("send_email(report)", "raise HTTPException(422)"), NO_YES),
        (_receive(_LACKS, "    raise HTTPException(302)", *_SENDS), NEITHER),
        (_receive("return {'status': 'success'}"), NOT_SENT),
    ),
    solution=_receive(_LACKS, "    raise HTTPException(422, 'Send an order_id and a status.')", *_SENDS),
)
