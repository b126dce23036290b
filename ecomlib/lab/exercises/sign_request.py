"""Exercise 05.4: a request, signed; the shop's own check is the judge."""

from __future__ import annotations

import base64
import hmac
import json
import re
from hashlib import sha256
from typing import Any

from ecomlib.clock import SimulatedClock
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.web.problems import Problem
from ecomlib.web.signatures import HEADER, Verifier

TEXT = "Give back the header's value as text: t=<timestamp>,v1=<signature>."
FORM = "The signature is right. But the header's value is t=<timestamp>,v1=<signature>: in this order, without spaces."
NO_SECRET = "Everybody can compute that: your secret is not in it."
NOT_HMAC = "A plain sha256 over secret and text is no HMAC: from one signature, others can be made. Use hmac.new."
NO_TIME = "The time is not signed. So a copied request gets a new t, and its signature still fits, for ever."
NOT_THE_BYTES = "You sign other bytes than you send: a space more or less, and nothing fits. Sign the body as it is."
AS_TEXT = (
    "In an f-string the body becomes the text b'...', quotes and all. Join bytes: f'{timestamp}.'.encode() + body."
)
SWAPPED = "Key and text have changed places: it is hmac.new(key, text, sha256), and the key is the secret."
NO_DOT = "Between the timestamp and the body there is a dot."
NO_HEX = "The signature is written in 64 hex digits: hexdigest(), not digest()."
TOLD_THE_SECRET = "The secret itself is in the header. Whoever reads that can sign as you, from now on."
OTHER_TIME = "t is not the timestamp that was given. Sign and send that one."
NO_FIT = "The server refuses it. Sign f'{timestamp}.' and then the body, all of it as bytes, with the secret as key."
OTHER_SECRET = "You sign with the secret that the lesson shows. Sign with the one that the function is given."
SHOWN_SECRET, SECRET = "the secret of us two", "only for this exercise"
SENT_AT = 1_767_603_600  # 2026-01-05 09:00 in UTC: where a simulated day begins
BODIES = (b'{"order_id": 8, "status": "paid"}', '{"status":"paid",  "order_id":9, "note":"Zoë"}'.encode())


def judge_sign_request(answer: Any) -> str | None:
    verifier = Verifier((SECRET,), SimulatedClock())
    for number, body in enumerate(BODIES):
        header = answer(SECRET, body, SENT_AT + number)
        if not isinstance(header, str):
            return TEXT
        if SECRET in header:
            return TOLD_THE_SECRET
        try:
            verifier.check(body, {HEADER: header})
        except Problem:
            return NOT_THE_BYTES if number else _mistake(header, body)
        if not header.startswith(f"t={SENT_AT + number},"):
            return OTHER_TIME
    return None


def _mistake(header: str, body: bytes) -> str:
    """Which of the usual mistakes makes a signature like this one."""
    key, time = SECRET.encode(), f"{SENT_AT}.".encode()

    def mac(key: bytes, text: bytes) -> bytes:
        return hmac.new(key, text, sha256).digest()

    said = json.loads(body)
    others = {json.dumps(said, separators=(",", ":")), json.dumps(said, sort_keys=True, indent=2), str(said)}
    made = {
        mac(key, time + body): FORM,
        mac(SHOWN_SECRET.encode(), time + body): OTHER_SECRET,
        mac(key, body): NO_TIME,
        mac(key, time[:-1] + body): NO_DOT,
        mac(key, f"{SENT_AT}.{body!r}".encode()): AS_TEXT,
        mac(time + body, key): SWAPPED,
        mac(body, key): SWAPPED,
        **{mac(key, time + other.encode()): NOT_THE_BYTES for other in others},
        **{sha256(text).digest(): NO_SECRET for text in (body, time + body, time[:-1] + body)},
    }
    for text in (key + body, body + key, key + time + body, time + body + key, key + b"." + time + body):
        made[sha256(text).digest()] = NOT_HMAC
    if (found := re.search(r"[0-9a-f]{64}", header)) is None:
        right = mac(key, time + body)
        unwritten = (str(right), base64.b64encode(right).decode(), "<hmac")  # the last is the object, which has both
        return NO_HEX if any(other in header for other in unwritten) else TEXT
    given = re.search(r"t=(\d+)", header)
    if given and given[1] != str(SENT_AT):
        return OTHER_TIME
    return made.get(bytes.fromhex(found[0]), NO_FIT)


_IMPORTS = "import hmac\nfrom hashlib import sha256\n\n\n"


def _sign(*lines: str) -> str:
    return f"{_IMPORTS}def sign_request(secret, body, timestamp):\n" + "\n".join(f"    {line}" for line in lines)


_BYTES = "text = f'{timestamp}.'.encode() + body"
_MAC = "mac = hmac.new(secret.encode(), text, sha256).hexdigest()"
_HEADER = "return f't={timestamp},v1={mac}'"
SIGN = Exercise(
    id="05.4",
    name="sign_request",
    blank="def sign_request(secret, body, timestamp):\n    ...  # give back the header's value, as text",
    judge=judge_sign_request,
    right="Right: the shop's own check lets your request in. Time and body are signed, byte for byte.",
    nudge="text = f'{timestamp}.'.encode() + body. Then hmac.new(key, text, sha256).hexdigest(): what is the key?",
    wrong=(
        (_sign(_BYTES, "mac = sha256(text).hexdigest()", _HEADER), NO_SECRET),
        (_sign("mac = sha256(secret.encode() + body).hexdigest()", _HEADER), NOT_HMAC),
        (_sign(_BYTES, "mac = sha256(secret.encode() + text).hexdigest()", _HEADER), NOT_HMAC),
        (_sign("text = body", _MAC, _HEADER), NO_TIME),
        (_sign("import json", "text = f'{timestamp}.{json.loads(body)}'.encode()", _MAC, _HEADER), NOT_THE_BYTES),
        (
            _sign("import json", "text = f'{timestamp}.{json.dumps(json.loads(body))}'.encode()", _MAC, _HEADER),
            NOT_THE_BYTES,
        ),
        (_sign("text = f'{timestamp}.{body}'.encode()", _MAC, _HEADER), AS_TEXT),
        (_sign(_BYTES, "mac = hmac.new(text, secret.encode(), sha256).hexdigest()", _HEADER), SWAPPED),
        (_sign("text = str(timestamp).encode() + body", _MAC, _HEADER), NO_DOT),
        (_sign(_BYTES, _MAC.replace("hexdigest", "digest"), _HEADER), NO_HEX),
        (_sign(_BYTES, _MAC.replace(".hexdigest()", ""), _HEADER), NO_HEX),
        (_sign(_BYTES, _MAC.replace("secret.encode()", "b'the secret of us two'"), _HEADER), OTHER_SECRET),
        (_sign(_BYTES, _MAC, "return mac"), FORM),
        (_sign(_BYTES, _MAC, "return f'v1={mac},t={timestamp}'"), FORM),
        (_sign("return f't={timestamp},v1={secret}'"), TOLD_THE_SECRET),
        (_sign("timestamp = timestamp + 1", _BYTES, _MAC, _HEADER), OTHER_TIME),
        (_sign("text = body + f'.{timestamp}'.encode()", _MAC, _HEADER), NO_FIT),
        (_sign(_BYTES, _MAC, "return {'t': timestamp, 'v1': mac}"), TEXT),
    ),
    solution=_sign(_BYTES, _MAC, _HEADER),
)
