"""Real requests to the webhook, and their answers: what went over the wire, and what was lost on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import httpx

from ecomlib.web.signatures import HEADER, sign

Verdict = Literal["taken", "again", "refused", "no answer"]
ROUTE = "/webhook/order"
SHOWN = ("Retry-After", "Idempotent-Replayed")  # the headers of an answer that say what to do next
AMOUNTS = (5000, 50)  # what an amount is changed to, and what that one is changed to
SHORT = 8  # hex digits of a signature


@dataclass(frozen=True)
class Delivery:
    """What is sent. `what` says it in plain words, `signature` is the header's value."""

    what: str
    body: bytes
    key: str | None = None
    signature: str | None = None

    def signed(self, secret: str, timestamp: int) -> Delivery:
        return replace(self, signature=sign(secret, self.body, timestamp, self.headers()))

    def changed(self, what: str) -> Delivery:
        """Another amount, with the key and the signature that it had."""
        report = json.loads(self.body)
        amount = AMOUNTS[report.get("amount") == AMOUNTS[0]]
        return replace(self, what=what, body=json.dumps({**report, "amount": amount}).encode())

    def headers(self) -> dict[str, str]:
        said = {"Idempotency-Key": self.key, HEADER: self.signature}
        return {"Content-Type": "application/json", **{name: value for name, value in said.items() if value}}


@dataclass(frozen=True)
class Exchange:
    """A delivery, and the answer to it. Without an answer `status` is None, and `trouble` says why.

    `truth` is what the server answered, also where its answer was lost: we who look on know it, the partner doesn't.
    """

    delivery: Delivery
    status: int | None = None
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""
    truth: Mapping[str, Any] = field(default_factory=dict)

    @property
    def what(self) -> str:
        return self.delivery.what

    @property
    def key(self) -> str | None:
        return self.delivery.key

    @property
    def verdict(self) -> Verdict:
        if self.status is None:
            return "no answer"
        if self.status != 202:
            return "refused"
        return "again" if "Idempotent-Replayed" in self.headers else "taken"

    @property
    def request(self) -> str:
        """As it went over the wire, the signature shortened, and without the headers that say nothing about it."""
        headers = self.delivery.headers()
        if self.delivery.signature:
            time, _, mac = self.delivery.signature.partition(",v1=")
            headers[HEADER] = f"{time},v1={mac[:SHORT]}…"
        lines = [f"POST {ROUTE}", *(f"{name}: {value}" for name, value in headers.items())]
        return "\n".join([*lines, "", self.delivery.body.decode()])

    @property
    def answer(self) -> str:
        if self.status is None:
            return f"({self.trouble})"
        lines = [f"{self.status} {self.reason}", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\n".join([*lines, "", json.dumps(self.said, indent=2, ensure_ascii=False)])

    @property
    def text(self) -> str:
        return f"{self.request}\n\n{self.answer}"


class Wire:
    """Sends deliveries, and waits for each answer. Call it from one thread."""

    def __init__(self) -> None:
        self._transport = _Transport(limits=httpx.Limits(max_keepalive_connections=0))  # so that nothing is left open
        # The settings of a proxy are for the world outside, not for this machine.
        self._client = httpx.Client(transport=self._transport, timeout=30, trust_env=False)

    def send(self, url: str, delivery: Delivery, *, lose_answer: bool = False) -> Exchange:
        """What goes wrong on the wire stands in the exchange. With `lose_answer`, the server does its work all the
        same, as it does when a connection breaks at the wrong moment.
        """
        self._transport.loses_answers = lose_answer
        try:
            answer = self._client.post(url + ROUTE, content=delivery.body, headers=delivery.headers())
        except _LostError as error:
            return Exchange(delivery, trouble=f"no answer: {error}", truth=error.answer.json())
        except httpx.ConnectError:
            return Exchange(delivery, trouble="no connection: nobody listens there")
        except httpx.TransportError as error:
            return Exchange(delivery, trouble=f"no answer: {error}")
        headers = {name: answer.headers[name] for name in SHOWN if name in answer.headers}
        said = answer.json()
        return Exchange(delivery, answer.status_code, answer.reason_phrase, headers, said, truth=said)


class _LostError(httpx.ReadError):
    def __init__(self, answer: httpx.Response, request: httpx.Request) -> None:
        super().__init__("it was lost on its way", request=request)
        self.answer = answer


class _Transport(httpx.HTTPTransport):
    loses_answers = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if self.loses_answers:
            answer.read()
            raise _LostError(answer, request)
        return answer
