"""The webhook: other systems report here what happened to an order; anybody may call it, at any time, and twice."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from pydantic_core import to_json

from ecomlib.errors import BadInput, BusFull, KeyReused, LogError
from ecomlib.events import Event
from ecomlib.ports import Receipt, Record
from ecomlib.shop import TOPIC, Shop
from ecomlib.web.inbox import Inbox
from ecomlib.web.limits import RateLimit, read_body
from ecomlib.web.owed import TOLD, Owed
from ecomlib.web.problems import SOON, Problem
from ecomlib.web.reports import Report, mode_of, read_report
from ecomlib.web.signatures import WINDOW, UsedSignatures, Verifier
from ecomlib.web.together import Together

log = logging.getLogger(__name__)
Accepted = tuple[Event, bool]
WAITING = 400  # reports that may wait for the log at once
SHORTEST = 16  # characters of a secret, or of a token


@dataclass(frozen=True)
class Rules:
    """Who may do how much. With a secret, requests must be signed, and reading needs the token."""

    secrets: tuple[str, ...] = ()  # two while they are changed: the new one, and the one before
    token: str | None = None
    rate: float = 100.0  # requests a second that one client may go on sending
    burst: int = 200  # and how many at once
    size: int = 65_536  # bytes of a body
    window: int = WINDOW

    def __post_init__(self) -> None:
        for secret in self.secrets:
            if len(secret.strip()) < SHORTEST or not secret.isprintable():
                raise BadInput(
                    f"A webhook's secret is text of {SHORTEST} characters or more: a short one can be guessed."
                )
        if self.secrets and not self.token:
            raise BadInput("With a secret, those who read need a token: set one as well.")
        if self.token and not re.fullmatch(f"[A-Za-z0-9._~-]{{{SHORTEST},}}", self.token):
            raise BadInput(
                f"A token has {SHORTEST} or more letters, digits and '.', '_', '~', '-': a cookie carries it."
            )


class Webhook:
    """Takes facts about orders, each delivery once. What it has answered with 202 is in the log.

    It never refuses a fact for an order's history: it happened, in whatever order we hear of it.
    """

    def __init__(self, shop: Shop, rules: Rules) -> None:
        """Reads the log once. Raises `BadInput` for a shop without one, or where its topic has several partitions."""
        if shop.log is None:
            raise BadInput("A webhook needs a shop with a log: what was answered must not be forgotten.")
        self.shop, self.rules = shop, rules
        self.inbox, self.owed = Inbox(shop.log, TOPIC), Owed()
        self._limit = RateLimit(rules.rate, rules.burst, shop.clock)
        self._verifier = Verifier(rules.secrets, shop.clock, rules.window)
        self._used = UsedSignatures(shop.clock, rules.window)
        shop.log.create(TOPIC, partitions=1)  # offsets tell events apart in one partition only
        self._accepting = Together(self.accept_all)
        self._trouble = ""
        self.appended: deque[Record] = deque(maxlen=WAITING)  # the latest, for who follows the log
        self.following = 0  # the offset behind what was read
        for (_, _, offset), event in shop.log.read(TOPIC):
            self.inbox.apply(event, offset)
            self.owed.apply(event, offset)
            self._used.apply(event)
            shop.analytics.apply(event)  # knows nearly all of them: others may have appended since the shop was opened
            self.following = offset + 1

    async def receive(self, request: Request) -> Response:
        """Everything that can be refused is refused before anything happens."""
        self._limit.take(request.client.host if request.client else "")  # 429
        mode = mode_of(request.headers)  # 415
        body = await read_body(request, self.rules.size)  # 413
        signed = self._verifier.check(body, request.headers)  # 401
        report = read_report(request.headers, body, self.shop.new_event, signed, mode)  # 400, 422
        if self._accepting.open >= WAITING:  # the disk is slow, or the bus
            raise Problem(503, "Too many reports wait to be taken: send it again soon.", headers=SOON)
        event, again = await self._accepting(report)  # 401, 409, 503
        repeated = {"Idempotent-Replayed": "true"} if again else None
        return Response(to_json(answer(event)), 202, repeated, "application/json")

    def accept(self, report: Report) -> Accepted:
        """Returns once the event is safe: the first one of this delivery, and whether it had been taken before.

        Blocks while the log is written, so it does not belong on the event loop. Raises `Problem`, without effect; only
        where an fsync failed the event may stand in the log all the same.
        """
        (found,) = self.accept_all([report])
        if isinstance(found, Exception):
            raise found
        return found

    def accept_all(self, reports: Sequence[Report]) -> list[Accepted | Exception]:
        """As `accept` for each of them. Those that are surely new are written to the log together."""
        found: dict[int, Accepted | Exception] = {}
        claimed = [n for n, report in enumerate(reports) if self.inbox.claim(report.key)]
        try:
            found.update((n, copied) for n in claimed if (copied := self._copied(reports[n])))
            new = [n for n in claimed if n not in found]
            found.update(zip(new, self._publish([reports[n] for n in new]), strict=True))
        finally:  # also where it was interrupted: others may wait for these keys
            for n in claimed:
                self.inbox.release(reports[n].key)
        return [found[n] if n in found else self._again(report) for n, report in enumerate(reports)]

    def _publish(self, reports: Sequence[Report]) -> list[Accepted | Exception]:
        if not reports:
            return []
        receipts: Sequence[Receipt | Exception]
        try:
            receipts = self.shop.bus.publish_all(report.event for report in reports)
            self._trouble = ""
        except Exception as error:
            receipts = [error] * len(reports)
        for report, receipt in zip(reports, receipts, strict=True):
            if not isinstance(receipt, Exception):
                self.inbox.remember(report.key, receipt)
                assert receipt.position is not None, "the bus of a webhook has a log"
                self.appended.append(Record(receipt.position, receipt.event))
            elif report.key is None and report.signed is not None:
                self._used.release(report.signed)
        return [self._problem(r) if isinstance(r, Exception) else (r.event, False) for r in receipts]

    def _copied(self, report: Report) -> Problem | None:
        """Why it is not taken, where its signature was used already. With a key, a repetition has no second effect."""
        if report.key is None and report.signed is not None:
            try:
                self._used.claim(report.signed)
            except Problem as problem:
                return problem
        return None

    def _again(self, report: Report) -> Accepted | Exception:
        try:
            return self.inbox.once(report.key, report.requesthash, lambda: self.shop.bus.publish(report.event))
        except Exception as error:
            return self._problem(error)

    def _problem(self, error: Exception) -> Exception:
        """What the shop could not do, in the words of HTTP. What only concerns us stands in our own log."""
        if isinstance(error, KeyReused):
            return Problem(409, str(error))
        if isinstance(error, BusFull):
            return Problem(503, "Too much is waiting, so nothing was taken: send it again soon.", headers=SOON)
        if isinstance(error, LogError):
            if str(error) != self._trouble:  # once, not once a request
                self._trouble = str(error)
                log.error("Reports are answered with 503. %s", error)
            detail = "The log can't be written, so nothing is promised: send it again, with the same key."
            return Problem(503, detail, headers={"Retry-After": "5"})
        return error


def answer(event: Event) -> dict[str, Any]:
    """It follows from the event alone, so it is the same at every repetition. The keys are the original's."""
    nobody = event.type in TOLD and getattr(event.data, "user_id", None) is None
    about = " It names no user, so nobody is told." if nobody else ""
    message = f"{event.type} of order {event.data.order_id} is in the log.{about}"
    return {"status": "success", "event_name": event.type, "message": message, "event_id": event.id}
