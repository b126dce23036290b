"""Whatever the network brings: generated from what the OpenAPI document promises, and mutated beyond it."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from ecomlib.shop import open_shop
from ecomlib.web.server import Server
from ecomlib.web.signatures import HEADER, sign
from tests.conftest import ROOT
from tests.support.webhook import GUARDED, LIMIT, PATH, PLAIN, SECRET, STRUCTURED, TOKEN, Client, Process, taken

# How schemathesis is given the secret: as an auth of `requests`, which sees each request as it will be sent, so it can
# sign the bytes of the body and the headers that count. What is read gets the token. Schemathesis takes the auth away
# again where it looks whether the server really wants it (`ignored_auth`).
# The document's own example of a CloudEvent gets an id of its own each time: as a delivery that came before with
# another body it would be refused (409), and nothing else of it would be looked at.
# `printable` is a format of our own, so schemathesis has to be told what it is. And 421.0 is an integer for JSON
# Schema, while CloudEvents and we want it written 421: no schema can say so, and such bodies are left out.
HOOKS = """
import itertools
import schemathesis
from datetime import datetime
from hypothesis import strategies as st
from tests.endurance.test_webhook_fuzz import Credentials, says_whole_numbers_as_such

unseen = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
schemathesis.openapi.format("printable", st.text(st.characters(exclude_categories=unseen), min_size=1))
# The document says it in words: from 1970 on, and not ahead of the shop's clock.
possible = st.datetimes(datetime(1970, 1, 2), datetime(2026, 1, 1))
schemathesis.openapi.format("date-time", possible.map(lambda time: f"{time.isoformat()}Z"))
schemathesis.auth.set_from_requests(Credentials())
fresh = itertools.count(1000)

@schemathesis.hook
def filter_body(context, body):
    return says_whole_numbers_as_such(body)

@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict) and case.body.get("id") == "17":
        case.body = {**case.body, "id": str(next(fresh))}
"""


class Credentials(requests.auth.AuthBase):
    """The same body twice in a second would have the same signature, and be refused: each gets a second of its own."""

    def __init__(self) -> None:
        self._turn = itertools.count()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if PATH in (request.url or ""):
            body = request.body or b""
            assert isinstance(body, str | bytes)
            content = body.encode() if isinstance(body, str) else body
            said = {name: _text(value) for name, value in request.headers.items()}
            request.headers[HEADER] = sign(SECRET, content, int(time.time()) + 200 - next(self._turn) % 400, said)
        else:
            request.headers["Authorization"] = f"Bearer {TOKEN}"
        return request


def says_whole_numbers_as_such(body: Any) -> bool:
    if isinstance(body, dict | list):
        return all(map(says_whole_numbers_as_such, body.values() if isinstance(body, dict) else body))
    return not (isinstance(body, float) and body.is_integer())


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def test_the_server_keeps_what_its_openapi_document_promises(tmp_path: Path) -> None:
    (tmp_path / "hooks.py").write_text(HOOKS, encoding="utf-8")
    command = [
        str(Path(sys.executable).with_name("st")), "run", "--checks", "all", "--max-examples", "150", "--seed", "4",
        "--generation-deterministic", "--no-color", "--continue-on-failure",
        "--exclude-path", "/events",  # the stream of events never ends, so no answer of it is ever complete
        "--request-timeout", "20", "--generation-with-security-parameters", "false", "--suppress-health-check", "all",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": str(tmp_path / "hooks.py"),
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "*",
    }
    with Server(open_shop(tmp_path / "log"), GUARDED) as server:
        done = subprocess.run(
            [*command, f"{server.url}/openapi.json"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        with Client(server.url) as client:
            assert client.get("/health").status_code == 200
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    tested = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert tested, done.stdout
    assert int(tested[1]) > 300
    assert len(taken(tmp_path / "log")) > 60  # so the signatures fitted


# --- mutations ----------------------------------------------------------------------------------------------------

MUTATIONS = int(os.environ.get("ECOMLIB_MUTATIONS", "10000"))
DELIVERIES = 4000  # fewer than there are requests: some come again, as they were or changed
CONNECTIONS = 4
Headers = list[tuple[bytes, bytes]]

ODD_JSON = (
    b"null", b"true", b"0", b"-1", b"-0.0", b"1e999", b"-1e999", b"1E-400", b"NaN", b"-Infinity", b"9" * 400,
    b"9" * 5000, b"0." + b"1" * 3000, b"1" + b"0" * 308, b'""', b'" "', b'"\\ud800"', b'"\\udfff\\ud800"', b'"\\u0000"',
    b'"\\u202e"', b'"' + b"x" * 101 + b'"', b'"' + b"y" * 9000 + b'"', b"[]", b"{}", b'{"": {}}', b'{"order_id": 1}',
    b"[" * 40 + b"]" * 40, b"[" * 3000 + b"]" * 3000, b'{"a":' * 150 + b"1" + b"}" * 150, b'"2026-02-30T00:00:00Z"',
    b'"0001-01-01T00:00:00+14:00"', b'"order.paid"', b'"order..paid"', b'"/shop"', b'"1_0"', b'"1e5"', b'"NaN"',
    "\u0664\u0665".encode().join((b'"', b'"')), b'"\xff\xfe"', b'"\xed\xa0\x80"',
)  # fmt: skip
ODD_NAMES = (
    b"order_id", b"status", b"amount", b"user_id", b"id", b"source", b"type", b"time", b"data", b"data_base64", b"self",
    b"specversion", b"dataversion", b"datacontenttype", b"subject", b"signed", b"requesthash", b"originid", b"offset",
    b"idempotencykey", b"checksum", b"partitionkey", b"causationid", b"correlationid", b"__class__", b"model_config",
    b"", b" ", b"\\u0000", b"\\ud800", b"to_dict", b"UPPER", b"x" * 300,
)  # fmt: skip
ODD_TYPES = (
    b"", b"text/plain", b"application/xml", b"application/json; charset=utf-16", b"application/json; charset=UTF-8",
    b"application/json;;", b"application/json; charset", b"application/json; charset*=a%00b''utf-8", b"JSON",
    b"APPLICATION/JSON", b"application/json; charset*0*=a%00b''utf-8; charset*1=x", b"json", b"/", b";", b"*/*",
    b"application/json; charset*=utf-8''%", b"application/cloudevents+json; charset=utf-8",
    b"application/cloudevents-batch+json", b"application/json, text/plain", b"multipart/form-data; boundary=x",
    b"application/json; x=\"", b"application/json; charset=\xe9",
)  # fmt: skip
ODD_TEXT = (
    b"", b"%", b"%zz", b"%00", b"%0d%0aX: y", b"%ff", b"%ED%A0%80", b"%25", b"%E2%82%AC", b"9" * 5000, b"-1", b"0",
    b"x" * 201, b"\xe9", b"\xa0", b"\x85", b"a b", b"a\tb", b"order.paid", b"/shop", b"%D9%A3", b"1.0", b"null", b"[",
    b"%2e%2e%2f", b"2026-01-05T09:00:00Z", b"9999-12-31T23:59:59-14:00", b"2026-01-05", b"x" * 20000,
)  # fmt: skip
ODD_HEADERS = (
    b"ce-", b"ce-data", b"ce-data_base64", b"ce-datacontenttype", b"ce-dataversion", b"ce-time", b"ce-subject",
    b"ce-UPPER", b"ce-a_b", b"ce-signed", b"ce-offset", b"ce-requesthash", b"ce-partitionkey", b"ce-causationid",
    b"content-encoding", b"authorization", b"cookie", b"idempotency-key", b"webhook-signature", b"x-forwarded-for",
    b"accept", b"content-language", b"content-type", b"range", b"if-match", b"origin", b"last-event-id",
)  # fmt: skip


def valid(number: int) -> tuple[Headers, bytes]:
    """One of the three modes, most of them with a key, or with a source and an id."""
    chance = random.Random(number)
    data = {"order_id": str(number % 700), "amount": "5.00", "user_id": number % 50}
    verb = chance.choice(("created", "paid", "shipped", "delivered", "cancelled"))
    event = {
        "specversion": "1.0",
        "id": str(number),
        "source": "https://partner.example",
        "type": f"order.{verb}",
    }
    mode = number % 3
    if mode == 0:
        key = [(b"Idempotency-Key", b"key-%d" % number)] if chance.random() < 0.7 else []
        return [(b"Content-Type", PLAIN.encode()), *key], json.dumps({**data, "status": verb}).encode()
    if mode == 1:
        return [(b"Content-Type", STRUCTURED.encode())], json.dumps({**event, "data": data}).encode()
    attributes = [(f"ce-{name}".encode(), quote(value).encode()) for name, value in event.items()]
    return [(b"Content-Type", PLAIN.encode()), *attributes], json.dumps(data).encode()


def mutated_body(chance: random.Random, body: bytes) -> bytes:
    at = chance.randrange(len(body) + 1)
    until = chance.randrange(at, len(body) + 1)
    values = [match.span(1) for match in re.finditer(rb': ("[^"]*"|[0-9.]+)', body)]
    names = [match.span(1) for match in re.finditer(rb'"(\w+)": ', body)]

    def put(span: tuple[int, int], new: bytes) -> bytes:
        return body[: span[0]] + new + body[span[1] :]

    def flipped() -> bytes:
        return bytes(byte ^ (1 << chance.randrange(8)) if chance.random() < 0.02 else byte for byte in body)

    changes: list[Callable[[], bytes]] = [
        flipped,
        lambda: body[:at],
        lambda: body[:at] + body[until:],
        lambda: body[:until] + body[at:],
        lambda: body * chance.choice((2, 3, 700)),
        lambda: body[:at] + chance.randbytes(chance.choice((1, 4, 70_000))) + body[at:],
        lambda: chance.choice(
            (b"", b" ", b"null", b"[]", b"{}", b"\xef\xbb\xbf" + body, b"[" + body + b"]", body[::-1])
        ),
        lambda: body.decode("latin-1").encode(chance.choice(("utf-16", "utf-32", "utf-7"))),
        lambda: body[:1] + b'"' + chance.choice(ODD_NAMES) + b'": ' + chance.choice(ODD_JSON) + b", " + body[1:],
        lambda: body[:-1] + b', "' + chance.choice(ODD_NAMES) + b'": ' + chance.choice(ODD_JSON) + b"}",
    ]
    if values and names:
        put_value = lambda: put(chance.choice(values), chance.choice(ODD_JSON))  # noqa: E731
        changes += [put_value, put_value, put_value, lambda: put(chance.choice(names), chance.choice(ODD_NAMES))]
    return chance.choice(changes)()


def mutated_headers(chance: random.Random, headers: Headers) -> Headers:
    which = chance.randrange(len(headers))
    name, value = headers[which]
    rest = headers[:which] + headers[which + 1 :]
    changes: list[Callable[[], Headers]] = [
        lambda: rest,
        lambda: [*headers, (name, value)],
        lambda: [*headers, (name, chance.choice(ODD_TEXT))],
        lambda: [*rest, (name, chance.choice(ODD_TEXT))],
        lambda: [*rest, (name, value + chance.choice(ODD_TEXT))],
        lambda: [*headers[1:], (b"Content-Type", chance.choice(ODD_TYPES))],
        lambda: [*headers, (chance.choice(ODD_HEADERS), chance.choice(ODD_TEXT))],
        lambda: [*headers, *((b"ce-x%d" % n, b"v") for n in range(chance.choice((1, 50))))],
    ]
    return chance.choice(changes)()


CORNERS: list[tuple[bytes, bytes, bool]] = [
    *((name, value, True) for name in ODD_HEADERS for value in ODD_TEXT),
    *((name, value, False) for name in ODD_NAMES for value in ODD_JSON),
    *((name, value, False) for name in ODD_NAMES for value in ODD_JSON),
]
random.Random(4).shuffle(CORNERS)


def mutated(number: int) -> tuple[Headers, bytes]:
    """First each odd value in each odd place, in a request of some mode; then changes by chance."""
    headers, body = valid(number % DELIVERIES)
    if number < len(CORNERS):
        name, value, in_header = CORNERS[number]
        if in_header:
            return [*(header for header in headers if header[0].lower() != name), (name, value)], body
        return headers, body[:-1] + b', "' + name + b'": ' + value + b"}"
    chance = random.Random(number)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        if chance.random() < 0.55:
            body = mutated_body(chance, body)
        else:
            headers = mutated_headers(chance, headers or [(b"X", b"y")])
    return headers, body


class Wire:
    """One connection, on which bytes go out as they are: no client library would send all of this."""

    def __init__(self, url: str) -> None:
        self._address = str(urlsplit(url).hostname), int(urlsplit(url).port or 80)
        self._connection: socket.socket | None = None

    def send(self, headers: Headers, body: bytes, *, chunked: bool) -> tuple[int, dict[str, str], bytes] | None:
        """None: the server ended the connection while a body was still on its way, as it may."""
        self._connection = self._connection or socket.create_connection(self._address, LIMIT)
        framing = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", b"%d" % len(body))
        lines = [
            b"POST /webhook/order HTTP/1.1",
            b"Host: localhost",
            *(b"%s: %s" % each for each in (*headers, framing)),
        ]
        sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked and body else b"0\r\n\r\n" if chunked else body
        try:
            self._connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + sent)
            answer = http.client.HTTPResponse(self._connection, method="POST")
            answer.begin()
            found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        except ConnectionError:
            self.close()
            return None
        if answer.will_close:
            self.close()
        return found

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def outcome(wire: Wire, number: int) -> str:
    """What became of one mutated request: a word for the statistics, or what is wrong with the answer."""
    headers, body = mutated(number)
    found = wire.send(headers, body, chunked=number % 5 == 0)
    if found is None:
        return "cut off" if len(body) > 65_536 else f"no answer to number {number}"
    status, said, content = found
    told = json.loads(content) if content.startswith(b"{") else {}
    if status == 202 and told.keys() == {"status", "event_name", "message", "event_id"}:
        return "replayed" if "idempotent-replayed" in said else "accepted"
    if 400 <= status < 500 and said.get("content-type") == "application/problem+json" and told["status"] == status:
        return f"refused {status}"
    return f"number {number} got {status}: {content[:300]!r}"


def test_ten_thousand_mutated_requests_get_an_answer_each_and_only_the_accepted_ones_are_events(tmp_path: Path) -> None:
    with Process(tmp_path, durability="system") as server:
        url = server.url

        def some(start: int) -> Counter[str]:
            wire = Wire(url)
            found = Counter(outcome(wire, number) for number in range(start, MUTATIONS, CONNECTIONS))
            wire.close()
            return found

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            outcomes = sum(pool.map(some, range(CONNECTIONS)), Counter[str]())
        known = re.compile("accepted|replayed|cut off|refused (400|409|413|415|422)")
        assert [what for what in outcomes if not known.fullmatch(what)] == []
        with Client(url) as client:
            assert client.get("/ready").status_code == 200
        server.stop()
        assert "unforeseen" not in server.said
    events = taken(server.log)
    assert len(events) == outcomes["accepted"]
    assert len({event.id for event in events}) == len(events)
    assert sum(outcomes.values()) == MUTATIONS
    for what in ("accepted", "replayed", *(f"refused {status}" for status in (400, 409, 413, 415, 422))):
        assert outcomes[what] > MUTATIONS / 200, outcomes  # else the mutations test less than they say
