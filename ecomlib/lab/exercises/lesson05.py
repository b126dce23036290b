"""The exercises of lesson 05: what 202 promises, and the small server that the lesson starts with.

Status codes are in `status_codes.py`, the same delivery twice in `take_once.py`, a signature in `sign_request.py`.
"""

from __future__ import annotations

import json
import socket
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers

from ecomlib.clock import SimulatedClock
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.lab.exercises.sign_request import SIGN
from ecomlib.lab.exercises.status_codes import RECEIVE
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
