"""What the outside world says of an order, read: as the original's JSON, or as a CloudEvent over HTTP.

CloudEvents: https://github.com/cloudevents/spec, HTTP protocol binding 1.0.2, structured and binary content mode.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import unquote

from pydantic_core import from_json
from starlette.datastructures import Headers

from ecomlib.catalogue import Data, Id, Money, read_model
from ecomlib.errors import BadEvent
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.web.inbox import cloudevent_key
from ecomlib.web.problems import FieldError, Problem

Mode = Literal["plain", "structured", "binary"]
Status = Literal["created", "paid", "shipped", "delivered", "cancelled"]
TYPES = tuple(f"order.{verb}" for verb in ("created", "updated", "paid", "shipped", "delivered", "cancelled"))
SOURCE = "/webhook/order"
OUR_SOURCES = ("/shop", "/checkout", "/webhook")
OURS = {"requesthash", "idempotencykey", "originid", "signed", "offset", "checksum"}  # extensions that we set ourselves
ATTRIBUTES = {"specversion", "id", "source", "type", "subject", "time", "dataversion", "data", *OURS}
EARLIEST, AHEAD = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)  # of an event's time: other times are mistakes
KEY_FORM = "[!-~]{1,200}"  # of an Idempotency-Key: visible ASCII
_SORTED = json.JSONEncoder(sort_keys=True)
_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "ecomlib:webhook")  # the same key makes the same id, whoever takes it


class OrderReport(Data):
    """The body of the original's webhook. Further fields are carried along in the event's data."""

    order_id: Id
    status: Status
    amount: Money | None = None
    user_id: Id | None = None


@dataclass(frozen=True)
class Report:
    """A delivery that was understood. The event is complete: it carries the key, and the hash of what was asked."""

    event: Event
    key: str | None
    requesthash: str

    @property
    def signed(self) -> str | None:
        """What its signature is remembered by."""
        signed = self.event.extensions.get("signed")
        return None if signed is None else str(signed)


def mode_of(headers: Headers) -> Mode:
    """By the headers alone. Raises `Problem` 415 for what is none of the three."""
    kind, *parameters = [part.strip().lower() for part in headers.get("content-type", "").split(";")]
    charsets = {part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset")}
    if headers.get("content-encoding", "identity") != "identity":
        raise Problem(415, f"The body is packed ({headers['content-encoding']!r:.40}): send it as it is.")
    if kind not in ("application/json", "application/cloudevents+json") or charsets - {"utf-8", "us-ascii"}:
        raise Problem(
            415,
            f"A body of the type {headers.get('content-type', '(none)')!r:.80} can't be read. Send one order as "
            "application/json, or one event as application/cloudevents+json, in UTF-8.",
        )
    if kind == "application/cloudevents+json":
        return "structured"
    return "binary" if attributes(headers) else "plain"


def attributes(headers: Headers) -> dict[str, str]:
    """The headers that are a CloudEvent's attributes in binary mode. Raises `Problem` 422 where one comes twice."""
    names = [name for name in headers.keys() if name.startswith("ce-")]  # noqa: SIM118  (it lists repeats)
    for name, count in Counter(names).items() if names else ():
        if count > 1:
            raise Problem(422, f"The header {name} comes {count} times: send it once.")
    return {name: headers[name] for name in names}


def read_report(
    headers: Headers, body: bytes, new_event: EventFactory, signed: str | None = None, mode: Mode | None = None
) -> Report:
    """Raises `Problem`: 400 for what is no JSON, or no key; 422, with fields and reasons, for what is no report.

    `new_event` gives the time, and the id where the delivery has no key. `signed` goes along in the event. Who knows
    the mode already says so.
    """
    mode = mode or mode_of(headers)
    key = _idempotency_key(headers)
    said = _json(body) if body or mode != "binary" else {}
    marks = {} if signed is None else {"signed": signed}
    try:
        if mode == "plain":
            return _plain(said, key, new_event, marks)
        if mode == "binary":
            said = {**_unpacked(attributes(headers)), "data": said}
        return _cloudevent(said, new_event, marks)
    except BadEvent as error:
        fields = [FieldError(_place(field, mode, said), reason) for field, reason in error.fields]
        raise Problem(422, str(error), errors=fields) from None


def _json(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, f"The body is not JSON in UTF-8: {error}.") from None


def _idempotency_key(headers: Headers) -> str | None:
    keys = headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or not re.fullmatch(KEY_FORM, keys[0]):
        raise Problem(400, "Idempotency-Key stands there once, with 1 to 200 visible ASCII characters and no space.")
    return keys[0]


def _plain(said: Any, key: str | None, new_event: EventFactory, marks: Mapping[str, str]) -> Report:
    if not isinstance(said, dict):
        raise BadEvent('The body is no JSON object: send one like {"order_id": 123, "status": "paid"}.')
    told = read_model(OrderReport, "The report can't be taken", said).to_dict()
    requesthash = _hash(told)
    data = {name: value for name, value in told.items() if name != "status" and value is not None}
    extensions = {**marks, "requesthash": requesthash, **({"idempotencykey": key} if key is not None else {})}
    event = Event(
        f"order.{told['status']}",
        data,
        id=new_event.new_id() if key is None else str(uuid.uuid5(_IDS, key)),
        source=SOURCE,
        time=new_event.clock.now(),
        dataversion=1 if told["status"] == "paid" and "amount" not in data else 0,  # version 1 needs no amount
        extensions=extensions,
    )
    return Report(event, key, requesthash)


def _unpacked(packed: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in packed.items():
        try:
            if not value.isascii():
                raise _wrong(name, "holds letters beyond ASCII: write them as %-escapes of their UTF-8")
            said[name[3:]] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise _wrong(name, "is not UTF-8 when its %-escapes are undone") from None
    for name in {"data", "data_base64", "datacontenttype"} & said.keys():
        raise _wrong(f"ce-{name}", "is no attribute in binary mode: the body is the data")
    if re.fullmatch("[0-9]{1,9}", said.get("dataversion", "")):  # in a header a number is text
        said["dataversion"] = int(said["dataversion"])
    return said


def _cloudevent(said: Any, new_event: EventFactory, marks: Mapping[str, str]) -> Report:
    if not isinstance(said, dict):
        raise BadEvent("The body is no CloudEvent: it is a JSON object with specversion, id, source and type.")
    for name in OURS & said.keys():
        raise _wrong(name, "is an extension that only this shop sets: leave it out")
    if missing := [name for name in ("specversion", "id", "source", "type") if said.get(name) is None]:
        what = f"The event can't be taken: {' and '.join(missing)} missing."
        raise BadEvent(what, fields=[(name, "is missing") for name in missing])
    if said.get("dataversion") == 0:  # in the shop's own code that means the newest
        raise _wrong("dataversion", "is a whole number from 1")
    timed = said.get("time") is not None
    now = new_event.clock.now().isoformat()
    event = Event.from_json(json.dumps(said if timed else {**said, "time": now}))
    if event.type not in TYPES:
        raise _wrong("type", f"{event.type!r:.60} is not taken here: send {', '.join(TYPES)}")
    if not EARLIEST <= event.time <= new_event.clock.now() + AHEAD:
        raise _wrong("time", f"{event.time} is before 1970, or more than a day ahead of this shop's clock")
    if event.source.startswith(tuple(f"{ours}/" for ours in OUR_SOURCES)) or event.source in OUR_SOURCES:
        raise _wrong("source", f"{event.source!r:.60} is this shop's own: name yours")
    # In binary mode numbers are text, so they are here: it is the same delivery in either mode.
    told = {
        k: v if k == "data" or isinstance(v, str) else json.dumps(v) for k, v in json.loads(event.to_json()).items()
    }
    if not timed:
        del told["time"]
    requesthash, key = _hash(told), cloudevent_key(event.source, event.id)
    extensions = {**event.extensions, **marks, "requesthash": requesthash, "originid": event.id}
    # An id is unique beside its source alone; in the shop ids stand by themselves, so the two together make one.
    return Report(replace(event, id=str(uuid.uuid5(_IDS, key)), extensions=extensions), key, requesthash)


def _place(field: str, mode: str, said: Any) -> str:
    """Where the sender finds the field: what an event says of itself stands beside its data."""
    if mode == "plain":
        return field or "(body)"
    beside = field in ATTRIBUTES or field.startswith("ce-") or (isinstance(said, dict) and field in said)
    return field if beside else f"data.{field}".rstrip(".")


def _wrong(field: str, reason: str) -> BadEvent:
    return BadEvent(f"The event can't be taken: {field}: {reason}.", fields=[(field, reason)])


def _hash(told: Any) -> str:
    return sha256(_SORTED.encode(told).encode()).hexdigest()
