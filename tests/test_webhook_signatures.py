"""Signed requests: what is forged, changed, too old, too early, torn or repeated is refused, and has no effect."""

from __future__ import annotations

import hmac
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput
from ecomlib.shop import open_shop
from ecomlib.web import signatures
from ecomlib.web.problems import Problem
from ecomlib.web.signatures import HEADER, WINDOW, Verifier, sign
from ecomlib.webhook import Rules
from tests.support.disks import FullFile, One
from tests.support.webhook import (
    GUARDED,
    MANY,
    OLD_SECRET,
    PLAIN,
    SECRET,
    STRUCTURED,
    TOKEN,
    Client,
    cloudevent,
    logged,
    on_disk,
    refused,
    served,
    taken,
)

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
T = int(NOW.timestamp())
ORDER = b'{"order_id": 5, "status": "created", "user_id": 7, "amount": 49.9}'
BOTH = Rules(secrets=(SECRET, OLD_SECRET), token=TOKEN, **MANY)
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "https://partner.example", "ce-type": "order.paid"}
DATA = b'{"order_id": "9", "amount": "3.00", "user_id": "7"}'


@contextmanager
def guarded(folder: Path, rules: Rules = GUARDED, *, at: datetime = NOW) -> Iterator[Client]:
    with served(open_shop(folder, clock=SimulatedClock(at)), rules) as client:
        yield client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with guarded(tmp_path) as client:
        yield client


def send(client: Client, signature: str, body: bytes = ORDER, key: str | None = None, **more: Any) -> httpx.Response:
    return client.post(body, key, headers={**more.pop("headers", {}), HEADER: signature}, **more)


def signed(body: bytes = ORDER, at: int = T, secret: str = SECRET, **headers: str) -> str:
    return sign(secret, body, at, headers)


def keyed(key: str, body: bytes = ORDER, at: int = T) -> str:
    return sign(SECRET, body, at, {"Idempotency-Key": key})


# --- what is signed -----------------------------------------------------------------------------------------------


def test_the_signature_is_an_hmac_that_anyone_can_make(client: Client, tmp_path: Path) -> None:
    """Written out, as a sender in another language would."""
    mac = hmac.new(SECRET.encode(), str(T).encode() + b"." + ORDER, sha256).hexdigest()
    assert send(client, f"t={T},v1={mac}").status_code == 202
    text = f"{T}.idempotency-key:k\n".encode() + ORDER
    assert send(client, f"t={T},v1={hmac.new(SECRET.encode(), text, sha256).hexdigest()}", key="k").status_code == 202
    lines = "ce-id:1\nce-source:https://partner.example\nce-specversion:1.0\nce-type:order.paid\n"
    mac = hmac.new(SECRET.encode(), f"{T}.{lines}".encode() + DATA, sha256).hexdigest()
    assert send(client, f"t={T},v1={mac}", DATA, headers=BINARY).status_code == 202
    assert len(taken(tmp_path)) == 3


def test_the_case_of_a_headers_name_does_not_matter(client: Client) -> None:
    signature = sign(SECRET, DATA, T, {name.upper(): value for name, value in BINARY.items()})
    mixed = {name.title(): value for name, value in BINARY.items()}
    assert send(client, signature, DATA, headers=mixed).status_code == 202


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (None, "not signed"),
        ("", "can't be read"),
        ("v1=" + "0" * 64, "can't be read"),
        (f"t={T}", "can't be read"),
        (f"t={T},v1=", "can't be read"),
        (signed()[:-1], "can't be read"),
        (signed()[:40], "can't be read"),
        (signed() + "0", "can't be read"),
        (signed().upper(), "can't be read"),
        (signed().replace("t=", "t=+"), "can't be read"),
        (signed().replace("t=", "t= "), "can't be read"),
        (signed().replace(",v1=", ", v1="), "can't be read"),
        (signed().replace("v1", "v0"), "can't be read"),
        (f"{signed()}{',v1=' + '0' * 64:s}" + (",v1=" + "0" * 64) * 4, "can't be read"),
        (f"t={T},v1=" + "0" * 64, "does not fit"),
        (signed(b"{}"), "does not fit"),
        (signed(ORDER + b" "), "does not fit"),
        (signed(secret="a secret that nobody gave out"), "does not fit"),
        (signed(secret=OLD_SECRET), "does not fit"),
        (signed(at=T - 1).replace(str(T - 1), str(T)), "does not fit"),
        (keyed("k"), "does not fit"),
        (sign(SECRET, ORDER, T, BINARY), "does not fit"),
        (signed(at=T - WINDOW - 1), "seconds old or early"),
        (signed(at=T + WINDOW + 1), "seconds old or early"),
        (signed(at=0), "seconds old or early"),
        (signed(at=10**12 - 1), "seconds old or early"),
    ],
)
def test_a_request_that_is_not_signed_well_is_refused(
    client: Client, tmp_path: Path, signature: str | None, words: str
) -> None:
    answer = client.post(ORDER) if signature is None else send(client, signature)
    problem = refused(answer, 401)
    assert words in problem["detail"]
    assert answer.headers["www-authenticate"].startswith(HEADER)
    assert SECRET not in answer.text
    assert logged(tmp_path) == []
    assert send(client, signed()).status_code == 202


def test_to_be_refused_costs_neither_the_key_nor_the_signature(client: Client, tmp_path: Path) -> None:
    forged = keyed("k")[:-1] + ("0" if keyed("k")[-1] != "0" else "1")
    refused(send(client, forged, key="k"), 401)
    wrong = b'{"status": "lost"}'
    refused(send(client, signed(wrong), wrong), 422)
    refused(send(client, signed(wrong), wrong), 422)  # not "used already": it has had no effect
    assert "idempotent-replayed" not in send(client, keyed("k"), key="k").headers
    assert len(taken(tmp_path)) == 1


def test_the_window_is_open_to_its_last_second_on_both_sides(client: Client) -> None:
    for at in (T - WINDOW, T + WINDOW):
        assert send(client, signed(at=at)).status_code == 202


def test_the_window_is_measured_by_the_shops_clock(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    with served(open_shop(tmp_path, clock=clock), GUARDED) as client:
        clock.advance(seconds=WINDOW + 1)
        refused(send(client, signed()), 401)
        assert send(client, signed(at=T + WINDOW + 1)).status_code == 202


def test_a_wrong_signature_is_refused_before_anybody_looks_at_the_body(client: Client) -> None:
    """Who has no secret learns nothing of what a good body is."""
    for body in (b"{nope", b"[]", b'{"status": "lost"}'):
        refused(send(client, signed(), body), 401)


def test_macs_are_compared_in_a_time_that_says_nothing() -> None:
    """`==` would end at the first character that differs, which can be measured."""
    for checks in (Verifier.check, signatures.check_token):
        assert "hmac.compare_digest(" in inspect.getsource(checks)


def test_every_secret_is_tried_for_every_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    real = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    verifier = Verifier((SECRET, OLD_SECRET), SimulatedClock(NOW))
    for header in (f"{signed()},v1={'0' * 64}", f"t={T},v1={'0' * 64},v1={'1' * 64}"):
        compared.clear()
        with suppress(Problem):
            verifier.check(ORDER, {HEADER: header})
        assert len(compared) == 4, "a first match that ends the loop says which secret it was"


# --- any change ---------------------------------------------------------------------------------------------------


CHARACTERS = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
VALUES = st.text(CHARACTERS, min_size=1, max_size=12)
NAMES = st.from_regex("ce-[a-z0-9]{1,8}", fullmatch=True)
VERIFIER = Verifier((SECRET,), SimulatedClock(NOW))


def passes(header: str, body: bytes, headers: Mapping[str, str]) -> bool:
    try:
        return VERIFIER.check(body, {**headers, HEADER: header}) is not None
    except Problem:
        return False


@given(st.binary(max_size=60), st.binary(max_size=60), st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_change_of_the_body_is_noticed(body: bytes, other: bytes, headers: dict[str, str]) -> None:
    header = sign(SECRET, body, T, headers)
    assert passes(header, body, headers)
    assert passes(header, other, headers) == (body == other)
    for cut in range(len(body)):
        assert not passes(header, body[:cut], headers)


@given(st.integers(-WINDOW, WINDOW), st.integers(-WINDOW, WINDOW))
def test_any_change_of_the_timestamp_is_noticed(said: int, other: int) -> None:
    header = signed(at=T + said)
    assert passes(header, ORDER, {})
    assert passes(header.replace(f"t={T + said}", f"t={T + other}"), ORDER, {}) == (said == other)


@given(st.data(), st.dictionaries(NAMES | st.just("idempotency-key"), VALUES, min_size=1, max_size=5))
def test_any_change_of_a_header_that_counts_is_noticed(data: st.DataObject, headers: dict[str, str]) -> None:
    header = sign(SECRET, DATA, T, headers)
    assert passes(header, DATA, headers)
    name = data.draw(st.sampled_from(sorted(headers)))
    assert not passes(header, DATA, {key: value for key, value in headers.items() if key != name})
    value = data.draw(VALUES)
    assert passes(header, DATA, {**headers, name: value}) == (value == headers[name])
    more, value = data.draw(NAMES), data.draw(VALUES)
    assert passes(header, DATA, {**headers, more: value}) == (headers.get(more) == value)


@given(st.dictionaries(NAMES | st.just("idempotency-key"), VALUES, min_size=1, max_size=3), st.integers(1, 3))
def test_a_header_cannot_be_hidden_in_the_body_nor_the_body_in_a_header(headers: dict[str, str], many: int) -> None:
    """Both stand in one signed text: a line that moves over its border must not fit."""
    header = sign(SECRET, DATA, T, headers)
    lines = sorted(f"{name}:{value}\n" for name, value in headers.items())
    moved = {line.partition(":")[0] for line in lines[-many:]}
    rest = {name: value for name, value in headers.items() if name not in moved}
    hidden = "".join(lines[-many:]).encode() + DATA
    if passes(header, hidden, rest):  # the same bytes were signed: then the body must be none that is taken
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(hidden)


@given(st.integers(0, 10**12 - 1))
def test_only_what_lies_in_the_window_passes(at: int) -> None:
    assert passes(signed(at=at), ORDER, {}) == (abs(at - T) <= WINDOW)


@given(st.text(alphabet="t=v10,. af" + "é\u0664", max_size=90))
def test_a_header_that_is_anything_else_is_refused(header: str) -> None:
    assume(header != signed())
    assert not passes(header, ORDER, {})


@pytest.mark.parametrize(
    "change",
    [
        {"ce-id": "2"},
        {"ce-type": "order.shipped"},
        {"ce-source": "https://other.example"},
        {"ce-time": "2026-01-05T09:00:00Z"},
        {"ce-subject": "9"},
        {"Idempotency-Key": "k"},
    ],
    ids=str,
)
def test_a_changed_attribute_of_a_cloudevent_in_binary_mode_is_refused(
    client: Client, tmp_path: Path, change: dict[str, str]
) -> None:
    signature = sign(SECRET, DATA, T, BINARY)
    refused(send(client, signature, DATA, headers={**BINARY, **change}), 401)
    assert logged(tmp_path) == []
    assert send(client, signature, DATA, headers=BINARY).status_code == 202


def test_a_signed_body_says_the_same_in_no_other_mode(client: Client, tmp_path: Path) -> None:
    """The content type is not signed, so changing it must not turn one fact into another one."""
    event = json.dumps(cloudevent()).encode()
    assert send(client, signed(event), event, kind=STRUCTURED).status_code == 202
    refused(send(client, signed(event), event, kind=PLAIN), 422)
    refused(send(client, signed(), ORDER, kind=STRUCTURED), 422)
    assert len(taken(tmp_path)) == 1


# --- two secrets --------------------------------------------------------------------------------------------------


def test_the_old_secret_is_still_taken_beside_the_new_one(tmp_path: Path) -> None:
    with guarded(tmp_path, BOTH) as client:
        assert send(client, signed()).status_code == 202
        assert send(client, signed(b' {"order_id": 6, "status": "paid"}', secret=OLD_SECRET)).status_code == 401
        other = b'{"order_id": 6, "status": "paid"}'
        assert send(client, signed(other, secret=OLD_SECRET), other).status_code == 202
    with guarded(tmp_path, GUARDED) as client:  # the change is over
        refused(send(client, signed(other, T + 1, OLD_SECRET), other), 401)


def both(body: bytes = ORDER) -> tuple[str, str]:
    return signed(body).partition(",")[2], signed(body, secret=OLD_SECRET).partition(",")[2]


def test_who_signs_with_both_secrets_is_understood_by_each_side_of_the_change(tmp_path: Path) -> None:
    new, old = both()
    for number, secrets in enumerate([(SECRET,), (OLD_SECRET,), (SECRET, OLD_SECRET), (OLD_SECRET, SECRET)]):
        with guarded(tmp_path / str(number), Rules(secrets=secrets, token=TOKEN, **MANY)) as client:
            assert send(client, f"t={T},{new},{old}").status_code == 202


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_request_signed_with_both_is_not_sent_again_with_one_of_them(
    tmp_path: Path, order: tuple[int, int], restarted: bool
) -> None:
    macs = both()
    with guarded(tmp_path, BOTH) as client:
        assert send(client, f"t={T},{macs[order[0]]},{macs[order[1]]}").status_code == 202
        for mac in () if restarted else macs:
            refused(send(client, f"t={T},{mac}"), 401)
    turned = Rules(secrets=(OLD_SECRET, SECRET), token=TOKEN, **MANY)
    with guarded(tmp_path, turned) as client:
        for mac in macs:
            refused(send(client, f"t={T},{mac}"), 401)
    assert len(taken(tmp_path)) == 1


def test_a_used_signature_stays_used_when_the_secret_is_changed(tmp_path: Path) -> None:
    new, old = both()
    with guarded(tmp_path, Rules(secrets=(OLD_SECRET,), token=TOKEN, **MANY)) as client:
        assert send(client, f"t={T},{new},{old}").status_code == 202
    with guarded(tmp_path, BOTH) as client:
        for header in (f"t={T},{new},{old}", f"t={T},{new}", f"t={T},{old}"):
            assert "used already" in refused(send(client, header), 401)["detail"]
    assert len(taken(tmp_path)) == 1


# --- repeated -----------------------------------------------------------------------------------------------------


def test_a_request_that_was_overheard_is_not_taken_again(client: Client, tmp_path: Path) -> None:
    assert send(client, signed()).status_code == 202
    assert "used already" in refused(send(client, signed()), 401)["detail"]
    refused(send(client, signed(), key="k"), 401)
    refused(send(client, signed().replace("t=", "t=0")), 401)  # the same second in another spelling
    refused(send(client, f"{signed()},v1={'0' * 64}"), 401)
    assert len(taken(tmp_path)) == 1


def test_with_a_key_it_gets_the_first_answer_and_with_no_other_key(client: Client, tmp_path: Path) -> None:
    first = send(client, keyed("k"), key="k")
    again = send(client, keyed("k"), key="k")
    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (202, first.content, "true")
    refused(send(client, keyed("k")), 401)
    refused(send(client, keyed("k"), key="z"), 401)
    assert len(taken(tmp_path)) == 1


def test_the_same_delivery_signed_anew_gets_the_first_answer(client: Client, tmp_path: Path) -> None:
    first = send(client, keyed("k"), key="k")
    second = send(client, keyed("k", at=T + 1), key="k")
    assert (second.status_code, second.content) == (202, first.content)
    for signature in (keyed("k"), keyed("k", at=T + 1)):
        refused(send(client, signature), 401)
        refused(send(client, signature, key="z"), 401)
    assert len(taken(tmp_path)) == 1


def test_signed_anew_without_a_key_it_is_a_new_delivery(client: Client, tmp_path: Path) -> None:
    assert [send(client, signed(at=T + n)).status_code for n in range(3)] == [202] * 3
    assert len({event.id for event in taken(tmp_path)}) == 3


@pytest.mark.parametrize("late", [0, WINDOW])
def test_after_a_restart_a_used_signature_is_still_used(tmp_path: Path, late: int) -> None:
    with guarded(tmp_path) as client:
        assert send(client, signed()).status_code == 202
        first = send(client, keyed("k"), key="k")
        send(client, keyed("k", at=T + 1), key="k")
    with guarded(tmp_path, at=NOW + timedelta(seconds=late)) as client:
        refused(send(client, signed()), 401)
        assert send(client, keyed("k"), key="k").content == first.content
        for signature in (keyed("k"), keyed("k", at=T + 1)):
            refused(send(client, signature), 401)
            refused(send(client, signature, key="z"), 401)
    assert len(taken(tmp_path)) == 2


def test_a_signature_of_the_future_is_remembered_until_its_own_window_is_over(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    with served(open_shop(tmp_path, clock=clock), GUARDED) as client:
        assert send(client, signed(at=T + WINDOW)).status_code == 202
        for n in range(20):
            clock.advance(seconds=WINDOW / 10)
            refused(send(client, signed(at=T + WINDOW)), 401)
            other = f'{{"order_id": {n}, "status": "paid"}}'.encode()  # others come, and the old ones are swept
            assert send(client, signed(other, int(clock.now().timestamp())), other).status_code == 202
    assert len(taken(tmp_path)) == 21


def test_a_request_that_had_no_effect_may_be_sent_again_as_it_is(tmp_path: Path) -> None:
    disk = One(FullFile)
    with on_disk(tmp_path, disk, GUARDED) as client:
        client.secret = SECRET
        client.post(b'{"order_id": 1, "status": "shipped"}')
        assert isinstance(disk.file, FullFile)
        disk.file.full = True
        refused_once = client.post(ORDER)
        refused(refused_once, 503)
        disk.file.full = False
        signature = refused_once.request.headers[HEADER]
        assert send(client, signature).status_code == 202
        refused(send(client, signature), 401)


def test_the_event_says_what_signed_it_and_not_the_secret(client: Client, tmp_path: Path) -> None:
    send(client, signed())
    (event,) = taken(tmp_path)
    assert str(event.extensions["signed"]).startswith(f"{T}.")
    assert SECRET not in event.to_json()


# --- the rules ----------------------------------------------------------------------------------------------------


def test_without_a_secret_nobody_has_to_sign(tmp_path: Path) -> None:
    with guarded(tmp_path, Rules()) as client:
        assert client.post(ORDER).status_code == 202
        assert send(client, "t=1,v1=nonsense", b'{"order_id": 6, "status": "paid"}').status_code == 202


@pytest.mark.parametrize("secrets", [("short",), (SECRET, "short"), ("",)])
def test_a_secret_that_can_be_guessed_is_refused(secrets: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="16 characters"):
        Rules(secrets=secrets, token=TOKEN)


def test_a_secret_without_a_token_is_refused() -> None:
    with pytest.raises(BadInput, match="token"):
        Rules(secrets=(SECRET,))
