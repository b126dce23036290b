"""Who may say something: signed requests (HMAC-SHA256, RFC 2104) for what is reported, a token for what is read."""

from __future__ import annotations

import hmac
import re
import threading
from collections.abc import Mapping, Sequence
from hashlib import sha256

from ecomlib.clock import Clock
from ecomlib.events import Event
from ecomlib.web.problems import Problem

HEADER = "Webhook-Signature"
WINDOW = 300  # seconds between the sender's clock and ours, either way
FORM = re.compile(r"t=([0-9]{1,12})((?:,v1=[0-9a-f]{64}){1,4})")


def sign(secret: str, body: bytes, timestamp: int, headers: Mapping[str, str] | None = None) -> str:
    """The value of the header `Webhook-Signature`. `timestamp` is in seconds since 1970.

    Of the request's `headers` those are signed that say what the body alone doesn't: `Idempotency-Key`, and in binary
    mode a CloudEvent's `ce-` attributes.
    """
    return f"t={timestamp},v1={_mac(secret, signed_text(body, timestamp, headers or {}))}"


def signed_text(body: bytes, timestamp: int, headers: Mapping[str, str]) -> bytes:
    """`<timestamp>.`, a line `name:value` for each of the headers, sorted by its name in lower case, and the body."""
    said = ((name.lower(), value) for name, value in headers.items())
    lines = (f"{name}:{value}\n" for name, value in sorted(said) if name == "idempotency-key" or name[:3] == "ce-")
    return f"{timestamp}.{''.join(lines)}".encode() + body


def _as_sent(value: str) -> str:
    """The server reads a header's bytes as Latin-1; whoever sends other letters than ASCII's, sends UTF-8."""
    return value if value.isascii() else value.encode("latin-1").decode(errors="replace")


def _mac(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, sha256).hexdigest()


class Verifier:
    """Lets through what one of the secrets has signed, within the window. No secret: lets everything through.

    Two secrets at once let a sender change from the old one to the new one without a refusal between.
    """

    def __init__(self, secrets: Sequence[str], clock: Clock, window: int = WINDOW) -> None:
        self.secrets, self._clock, self._window = tuple(secrets), clock, window

    def check(self, body: bytes, headers: Mapping[str, str]) -> str | None:
        """What was signed, as "<timestamp>.<hash>", whichever secret it was; None where no secret is set.

        Raises `Problem` 401. Every secret is tried, each compared in a time that does not depend on where it differs.
        """
        if not self.secrets:
            return None
        header = headers.get(HEADER)
        if header is None:
            raise _refused(f"The request is not signed. Send the header {HEADER}: t=<seconds since 1970>,v1=<HMAC>.")
        found = FORM.fullmatch(header)
        if found is None:
            raise _refused(f"The header {HEADER} can't be read. It is t=<seconds since 1970>,v1=<64 hex digits>.")
        timestamp, given = int(found[1]), found[2].split(",v1=")[1:]
        text = signed_text(body, timestamp, {name: _as_sent(value) for name, value in headers.items()})
        ours = [_mac(secret, text) for secret in self.secrets]
        if not sum(hmac.compare_digest(one, other) for one in ours for other in given):
            raise _refused(
                "The signature does not fit. Sign the timestamp, the headers Idempotency-Key and ce-... that you "
                "send, and the bytes of the body, with the secret that you were given."
            )
        if abs(self._clock.now().timestamp() - timestamp) > self._window:
            raise _refused(f"The signature is more than {self._window} seconds old or early: sign anew, set the clock.")
        return f"{timestamp}.{sha256(text).hexdigest()}"


class UsedSignatures:
    """Remembers what was signed until its window is over, so that whoever overhears a request can't send it again.

    For requests without a key: one that has a key may come again, it has no second effect. Any thread may call.
    """

    def __init__(self, clock: Clock, window: int = WINDOW) -> None:
        self._clock, self._window = clock, window
        self._used: set[str] = set()
        self._one_at_a_time = threading.Lock()
        self._swept = 0.0

    def claim(self, signed: str) -> None:
        """Raises `Problem` 401 where it was claimed before."""
        with self._one_at_a_time:
            self._sweep()
            if signed in self._used:
                raise _refused(
                    "This signature was used already. Sign each request anew, or send an Idempotency-Key: then it "
                    "may be repeated as it is."
                )
            self._used.add(signed)

    def release(self, signed: str) -> None:
        """The request had no effect, so it may be sent again as it is."""
        with self._one_at_a_time:
            self._used.discard(signed)

    def apply(self, event: Event) -> None:
        """Fold in an event of the log: what signed it is used, also after a restart."""
        signed = event.extensions.get("signed")
        if isinstance(signed, str) and not self._over(signed):
            self._used.add(signed)

    def _sweep(self) -> None:
        now = self._clock.now().timestamp()
        if abs(now - self._swept) > self._window:  # a clock may be set back
            self._swept = now
            self._used = {signed for signed in self._used if not self._over(signed)}

    def _over(self, signed: str) -> bool:
        return float(signed.partition(".")[0]) + self._window < self._clock.now().timestamp()


def _refused(detail: str) -> Problem:
    # RFC 9110, section 15.5.2: a 401 says which scheme would do.
    return Problem(401, detail, headers={"WWW-Authenticate": f'{HEADER} v="v1"'})


def check_token(token: str | None, authorization: str | None, cookie: str | None) -> None:
    """Raises `Problem` 401 unless a token is set and neither `Authorization: Bearer` nor the cookie has it."""
    scheme, _, credentials = (authorization or "").partition(" ")
    given = credentials.strip() if scheme.lower() == "bearer" else cookie or ""
    if token is not None and not hmac.compare_digest(given.encode(), token.encode()):
        detail = "Reading needs the token: send Authorization: Bearer <token>, or open /?token=<token> in the browser."
        raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
