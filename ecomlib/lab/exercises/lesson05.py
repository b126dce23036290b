"""The exercises of lesson 05: the right status code, and what 202 promises.

The same delivery twice is in `take_once.py`, a signature in `sign_request.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
from collections.abc import Callable
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException
from starlette.datastructures import Headers

from ecomlib.clock import SimulatedClock
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.lab.exercises.sign_request import SIGN
from ecomlib.lab.exercises.take_once import TAKE
from ecomlib.shop import TOPIC, open_shop
from ecomlib.web.reports import read_report
from ecomlib.webhook import Rules, Webhook


class SmallServer:
    """Serves any app on a free port of this machine, in a thread of its own, from the moment it is made."""

    def __init__(self, app: FastAPI) -> None:
        listener = socket.create_server(("127.0.0.1", 0))  # it takes calls already: they wait until the app is up
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._thread = Thread(target=self._server.run, args=([listener],), name="small server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


# --- 05.1: the bug to spot ------------------------------------------------------------------------------------

PAIR = "The status code is 200, for FastAPI makes a list of the pair. Raise an HTTPException with the code."
GIVEN_BACK = "You give the HTTPException back, so it becomes a body, and the code is 200. It must be raised."
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
NEITHER = "That code is neither a yes nor a no: use one from 400 on for the partner's mistake, from 500 on for ours."
GOOD = {"order_id": 123, "status": "paid"}


def judge_receive(answer: Any) -> str | None:
    sent: list[dict[str, Any]] = []
    code, _ = _served(answer, dict(GOOD), sent.append, strict=True)
    if code // 100 != 2:
        return NO_YES
    if not sent:
        return NOT_SENT
    for missing in GOOD:
        sent.clear()
        code, body = _served(answer, {name: value for name, value in GOOD.items() if name != missing}, sent.append)
        if sent:
            return SENT_ANYWAY
        if code // 100 == 2:
            return _yes_by_mistake(body)
        if code // 100 != 4:
            return FOR_EVER if code // 100 == 5 else NEITHER

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
    return IN_THE_BODY if isinstance(body, dict) and body.get("status") != "success" else LACKS_A_FIELD


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
        (_receive("raise HTTPException(202, 'taken')"), NOT_SENT),
        (_receive("send_email(report)", "raise HTTPException(422)"), NO_YES),
        (_receive(_LACKS, "    raise HTTPException(302)", *_SENDS), NEITHER),
        (_receive("return {'status': 'success'}"), NOT_SENT),
    ),
    solution=_receive(_LACKS, "    raise HTTPException(422, 'Send an order_id and a status.')", *_SENDS),
)

# --- 05.2: what 202 promises ----------------------------------------------------------------------------------

LETTERS = "Answer with a set of letters, like {'B', 'C'}."
MAILED = "The email goes out after the answer. That is why the code is 202, accepted, and not 200, done."
COUNTED = "Analytics is served by the bus, like all other services, and that may be later than the answer."
NOT_SAFE = "If A were not certain, the partner would forget a report that we may lose. The answer waits for the log."
DIES = "What is in the log is read again by the next program, as in lesson 3. So D is certain, too."


def _at_the_answer() -> set[str]:
    """What is true when a real webhook has accepted a real report, and no service has done anything yet."""
    body = json.dumps({"order_id": 1, "status": "created", "user_id": 100, "amount": 50}).encode()
    with TemporaryDirectory() as folder:
        shop = open_shop(folder, clock=SimulatedClock(), seed=0, durability="system")  # its bus has no threads yet
        report = read_report(Headers({"content-type": "application/json"}), body, shop.new_event)
        Webhook(shop, Rules()).accept(report)
        assert shop.log is not None
        certain = {"A"} if shop.log.end(TOPIC) else set()
        certain |= {"B"} if shop.sender.sent else set()  # type: ignore[attr-defined]
        certain |= {"C"} if shop.totals()["orders"] else set()
        shop.close()
        after = open_shop(folder, clock=SimulatedClock(), seed=0, durability="system")
        certain |= {"D"} if after.totals()["orders"] else set()
        after.close()
    return certain


def judge_certain(answer: Any) -> str | None:
    if not isinstance(answer, set | frozenset | list | tuple) or not all(isinstance(letter, str) for letter in answer):
        return LETTERS
    given = {letter.strip().upper() for letter in answer}
    if not given or given - set("ABCD"):
        return LETTERS
    right = _at_the_answer()
    hints = {"A": NOT_SAFE, "B": MAILED, "C": COUNTED, "D": DIES}
    return next((hints[letter] for letter in "BCAD" if (letter in given) != (letter in right)), None)


CERTAIN = Exercise(
    id="05.2",
    name="certain",
    blank="certain = None  # a set of letters, like {'B', 'C'}",
    judge=judge_certain,
    right="Right: safe in the log, and nothing more. 200 would say that all the work is done.",
    nudge="What does the webhook wait for before it answers? And who does the rest, and when?",
    wrong=(
        ("certain = {'A', 'B', 'D'}", MAILED),
        ("certain = {'A', 'B', 'C', 'D'}", MAILED),
        ("certain = {'A', 'C', 'D'}", COUNTED),
        ("certain = {'A'}", DIES),
        ("certain = {'D'}", NOT_SAFE),
        ("certain = 'A and D'", LETTERS),
        ("certain = {'E'}", LETTERS),
    ),
    solution="certain = {'A', 'D'}",
)

EXERCISES: tuple[Exercise, ...] = (RECEIVE, CERTAIN, TAKE, SIGN)
