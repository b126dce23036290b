"""What every lesson promises its reader: the parts of a lesson, words explained before use, exercises that can be done.

Their outputs are compared by nbval, and their form (lengths, counts, no widget state) by tests/test_house.py.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ecomlib.broker import PrivateNode
from ecomlib.lab import lesson_broker
from ecomlib.lab.checks import Verdict, every_exercise
from ecomlib.lab.panel import Panel
from ecomlib.lab.rabbit_panel import RabbitPanel

ROOT = Path(__file__).resolve().parent.parent
EXERCISES = every_exercise()
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST_SENTENCE = 32  # words: many readers are not native

# In any form: "publishes" is the word "publish". A word stands in bold where it is explained.
WORDS = {
    "event": r"events?",
    "event bus": r"(?:event )?bus(?:es)?",
    "service": r"services?",
    "attempt": r"attempts?",
    "retry": r"retr(?:y|ies|ied)",
    "dead letter": r"dead letters?",
    "redeliver": r"redeliver(?:s|ed|y)?",
    "replay": r"replay(?:s|ed)?",
    "type": r"types?",
    "handler": r"handlers?",
    "subscribe": r"(?:un)?subscribe[sd]?",
    "subscription": r"subscriptions?",
    "publish": r"publish(?:es|ed)?",
    "delivery": r"deliver(?:y|ies)",
    "pattern": r"patterns?",
    "worker thread": r"worker threads?|threads?",
    "at least once": r"at least once",
    "idempotent": r"idempotent",
    "idempotency key": r"idempotency keys?",
    "command": r"commands?",
    "fact": r"facts?",
    "log": r"logs?",
    "offset": r"offsets?",
    "record": r"records?",
    "event sourcing": r"event sourcing",
    "projection": r"projections?",
    "snapshot": r"snapshots?",
    "topic": r"topics?",
    "consumer": r"consumers?",
    "consumer group": r"consumer groups?",
    "poll": r"poll(?:s|ed|ing)?",
    "commit": r"commit(?:s|ted)?",
    "lag": r"lags?",
    "partition": r"partitions?",
    "rebalance": r"rebalanc(?:es?|ed|ing)",
    "generation": r"generations?",
    "webhook": r"webhooks?",
    "request": r"requests?",
    "status code": r"status codes?",
    "header": r"headers?",
    "signature": r"signatures?",
    "window": r"windows?",
    "problem details": r"problem details",
    "CloudEvent": r"CloudEvent",  # the standard, CloudEvents, is named in lesson 03
    "transaction": r"transactions?",
    "outbox": r"outbox(?:es)?",
    "two-phase commit": r"two-phase commit",
    "saga": r"sagas?",
    "step": r"steps?",
    "runner": r"runners?",
    "compensation": r"compensat(?:ions?|es?|ed)",
    "pivot": r"pivots?",
    "tombstone": r"tombstones?",
    "orchestration": r"orchestration",
    "choreography": r"choreography",
    "message broker": r"(?:message )?brokers?",
    "process": r"process(?:es)?",
    "exchange": r"exchanges?",
    "binding": r"bindings?|bound",
    "routing key": r"routing keys?",
    "channel": r"channels?",
    "worker": r"workers?",
    "fanout exchange": r"fanout",
    "topic exchange": r"topic exchanges?",
    "acknowledgement": r"acknowledg(?:e|es|ed|ements?)",
    "prefetch": r"prefetch",
    "quorum queue": r"quorum(?: queues?)?",
    "competing workers": r"competing workers",
    "once in effect": r"once in effect",
    "unroutable": r"unroutable",
    "publisher confirm": r"(?:publisher )?confirms?",
    "poison message": r"poison(?: messages?)?",
    "delay queue": r"delay queues?",
    "management page": r"management page",
}


def cells(lesson: Path) -> list[dict[str, Any]]:
    return [cell | {"source": "".join(cell["source"])} for cell in json.loads(lesson.read_text("utf-8"))["cells"]]


def code_cells(lesson: Path) -> list[dict[str, Any]]:
    return [cell for cell in cells(lesson) if cell["cell_type"] == "code"]


def prose(lesson: Path) -> list[str]:
    return [cell["source"] for cell in cells(lesson) if cell["cell_type"] == "markdown"]


def number(lesson: Path) -> str:
    return lesson.name[:2]


def plain(text: str) -> str:
    """The sentences of a cell: no code, no diagram, no heading, no link."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "`", text)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", "", text)


def exercise_ids(lesson: Path) -> list[str]:
    return re.findall(r'^check\("([\d.]+)"', "\n".join(cell["source"] for cell in code_cells(lesson)), re.MULTILINE)


def shown(path: Path) -> str:
    return path.stem


every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=shown)
every_full_lesson = pytest.mark.parametrize("lesson", LESSONS[1:], ids=shown)  # the first is a tour


def test_the_lessons_are_numbered_from_0_on() -> None:
    """With a gap where one is still to come."""
    numbers = [number(lesson) for lesson in LESSONS]
    assert numbers[0] == "00"
    assert numbers == sorted(set(numbers) & {f"{n:02}" for n in range(8)})
    assert len(LESSONS) >= 6


# --- the parts of a lesson --------------------------------------------------------------------------------------


@every_lesson
def test_a_lesson_says_first_what_it_is_how_long_it_takes_and_what_comes_before(lesson: Path) -> None:
    head = prose(lesson)[0]
    assert head.startswith(f"# {int(number(lesson))} · ")
    assert re.search(r"\*\*Time:\*\* (about )?\d+ minutes", head)
    assert "**Before this:**" in head


@every_full_lesson
def test_a_full_lesson_has_all_its_parts_in_order(lesson: Path) -> None:
    text = "\n".join(prose(lesson))
    parts = (
        "**After this lesson you can**", "50 minutes in class", "## ▶ 1. The problem", "**Predict:**",
        "**What happened, and why?**", "Break it", "epair it", "What it costs", "**When not to use it:**", "Recap",
        "**Open question:**",
    )  # fmt: skip
    places = [text.find(part) for part in parts]
    assert -1 not in places, dict(zip(parts, places, strict=True))
    assert places == sorted(places), dict(zip(parts, places, strict=True))
    assert "| what you gain | what you pay |" in text
    assert text.count("**Predict:**") >= 5


@every_full_lesson
def test_the_path_for_fifty_minutes_is_marked(lesson: Path) -> None:
    sections = re.findall(r"^## .*$", "\n".join(prose(lesson)), re.MULTILINE)
    in_class = [section for section in sections if section.startswith("## ▶ ")]
    assert len(in_class) >= len(sections) / 2
    assert [re.sub(r"^## (▶ )?(\d+)\..*", r"\2", section) for section in sections] == [
        str(n + 1) for n in range(len(sections))
    ]


@every_lesson
def test_a_prediction_is_followed_by_the_run_that_answers_it(lesson: Path) -> None:
    told = cells(lesson)
    for cell, following in pairwise(told):
        if "**Predict:**" in cell["source"]:
            assert following["cell_type"] == "code", cell["source"]


@every_lesson
def test_every_code_cell_is_led_up_to_by_a_text(lesson: Path) -> None:
    """No more than two cells of code in a row: one idea, one result, one sentence."""
    kinds = "".join("c" if cell["cell_type"] == "code" else "t" for cell in cells(lesson))
    assert "cccc" not in kinds


@every_lesson
def test_the_last_cell_of_code_asserts_that_nothing_failed_unseen(lesson: Path) -> None:
    last = code_cells(lesson)[-1]["source"]
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(last)))
    assert "dead_letters" in last


# --- words, links, ids, outputs ----------------------------------------------------------------------------------


def test_a_word_of_the_field_is_in_bold_where_it_is_used_first() -> None:
    told = [(lesson.stem, plain(text)) for lesson in LESSONS for text in prose(lesson)[1:]]
    for word, forms in WORDS.items():
        used = re.compile(rf"\b(?:{forms})\b", re.IGNORECASE)
        explained = re.compile(rf"\*\*[^*\n]*\b(?:{forms})\b[^*\n]*\*\*", re.IGNORECASE)
        lesson, text, first = next((lesson, text, found) for lesson, text in told if (found := used.search(text)))
        bold = explained.search(text)
        assert bold is not None, f"{word} in {lesson}: {text}"
        assert bold.start() <= first.start(), f"{word} in {lesson}: {text}"


@every_lesson
def test_no_sentence_is_long(lesson: Path) -> None:
    for text in prose(lesson):
        for line in plain(text).splitlines():
            for sentence in re.split(r"(?<=[.!?:;])\s|\|", line):
                assert len(sentence.split()) <= LONGEST_SENTENCE, sentence


@every_lesson
def test_every_link_leads_somewhere(lesson: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", "\n".join(prose(lesson)))
    assert links
    for link in links:
        assert (lesson.parent / link).exists(), link


def test_lessons_are_linked_onwards_and_back() -> None:
    for before, after in pairwise(LESSONS):
        assert f"({after.name})" in prose(before)[-1]
        assert f"({before.name})" in prose(after)[0]
        assert f"({before.name})" in prose(after)[-1]


def test_every_cell_of_every_lesson_has_an_id_of_its_own_that_was_chosen() -> None:
    ids = [(lesson, cell["id"]) for lesson in LESSONS for cell in cells(lesson)]
    assert len({id for _, id in ids}) == len(ids)
    for lesson, id in ids:
        assert re.fullmatch(rf"l{number(lesson)}-[a-z0-9-]+", id)


@every_lesson
def test_outputs_hold_no_address_no_time_taken_and_no_folder_of_a_machine(lesson: Path) -> None:
    said = json.dumps([output for cell in code_cells(lesson) for output in cell["outputs"]])
    said = re.sub(r'"image/png": "[^"]*"', "", said)
    assert not re.search(r"0x[0-9a-f]{6}|/home/|/tmp/|/work/|/Users/|site-packages|\d+ ?ms\b|Traceback", said)


@every_lesson
def test_pictures_say_in_words_what_they_show_and_fit_on_the_page(lesson: Path) -> None:
    for cell in code_cells(lesson):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                assert re.search(r"\d", "".join(output["data"]["text/plain"])), cell["source"]
                assert output["metadata"]["image/png"]["width"] <= 800, cell["source"]


def labels(widget: Any) -> Iterator[str]:
    """What a reader sees on the buttons and in the lists of a panel."""
    yield getattr(widget, "description", "")
    yield from (str(name) for name, _ in getattr(widget, "options", ()) or ())
    for child in getattr(widget, "children", ()):
        yield from labels(child)


def test_what_the_lessons_ask_a_reader_to_click_is_there() -> None:
    told = "\n".join(text for lesson in LESSONS for text in prose(lesson))
    there = set(labels(Panel()))
    clicks = {"Fire an order", "Pay", "Break it", "Repair", "Redeliver all dead letters"}
    choices = {"email", "sms", "before its work", "after its work"}
    assert clicks | choices | set(re.findall(r"attempt `([^`]+)`", told)) <= there
    for label in clicks:
        assert f"**{label}**" in told, label


def test_what_the_lesson_on_rabbitmq_asks_a_reader_to_click_is_there(rabbitmq: PrivateNode) -> None:
    told = "\n".join(text for lesson in LESSONS if number(lesson) == "07" for text in prose(lesson))
    clicks = {"Start email worker", "Start analytics worker", "Produce 5 orders", "Kill email (-9)", "Poison message"}
    panel = RabbitPanel(lesson_broker.LessonBroker(rabbitmq.url))
    try:
        assert clicks <= set(labels(panel))
    finally:
        panel.close()
    for label in clicks:
        assert f"**{label}**" in told, label


# --- exercises -----------------------------------------------------------------------------------------------------


def test_the_lessons_have_the_exercises_that_the_checks_know() -> None:
    asked = [id for lesson in LESSONS for id in exercise_ids(lesson)]
    assert asked == list(EXERCISES)
    for lesson in LESSONS:
        for place, id in enumerate(exercise_ids(lesson), 1):
            assert id == f"{number(lesson)}.{place}"
            assert f"Exercise {id}\n" in "\n".join(prose(lesson))


@every_full_lesson
def test_a_full_lesson_has_two_exercises_or_more(lesson: Path) -> None:
    assert len(exercise_ids(lesson)) >= 2


@every_lesson
def test_an_exercise_stands_there_blank(lesson: Path) -> None:
    for cell in code_cells(lesson):
        for id in re.findall(r'^check\("([\d.]+)"', cell["source"], re.MULTILINE):
            exercise = EXERCISES[id]
            above, _, last = cell["source"].rpartition("\n")
            assert above.rstrip() == exercise.blank
            assert last == f'check("{id}", {exercise.name})'
            assert "".join(cell["outputs"][0]["data"]["text/plain"]).startswith("○ Not yet")


def run(lesson: Path, changed: dict[str, str]) -> Iterator[tuple[str, object]]:
    """Each code cell's source and what its last line gave; with `changed`, the answers that a learner put in."""
    names: dict[str, Any] = {}
    for cell in code_cells(lesson):
        source = cell["source"]
        for id, answer in changed.items():
            if f'check("{id}"' in source:
                source = f"{answer}\n{source.rpartition(chr(10))[2]}"
        tree = ast.parse(source)
        last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), names)
        yield source, eval(compile(last, cell["id"], "eval"), names) if last else None


@pytest.fixture
def at_home(lesson: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """In an empty folder; the lesson on RabbitMQ gets the tests' own, and not a node of its own."""
    monkeypatch.chdir(tmp_path)
    if number(lesson) == "07":
        node = request.getfixturevalue("rabbitmq")
        monkeypatch.setenv("ECOMLIB_RABBITMQ_URL", node.url)
        monkeypatch.setattr(lesson_broker, "_opened", [])


@every_lesson
@pytest.mark.usefixtures("at_home")
def test_who_answers_everything_right_still_has_a_lesson_that_works(lesson: Path) -> None:
    solved = {id: EXERCISES[id].solution for id in exercise_ids(lesson)}
    verdicts = [value for _, value in run(lesson, solved) if isinstance(value, Verdict)]
    assert len(verdicts) == len(solved)
    assert all(verdicts), verdicts


@every_full_lesson
@pytest.mark.usefixtures("at_home")
def test_who_answers_everything_wrong_has_one_that_works_as_well(lesson: Path) -> None:
    mistaken = {id: EXERCISES[id].wrong[0][0] for id in exercise_ids(lesson)}
    verdicts = [value for _, value in run(lesson, mistaken) if isinstance(value, Verdict)]
    assert [repr(verdict) for verdict in verdicts] == [f"✗ {EXERCISES[id].wrong[0][1]}" for id in mistaken]


ORDERS = """\
order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,order_delivered_carrier_date,\
order_delivered_customer_date,order_estimated_delivery_date
a,x,shipped,2017-10-02 10:56:33,2017-10-02 11:07:15,2017-10-01 19:55:00,,2017-10-18 00:00:00
b,y,approved,2017-11-24 20:41:37,2017-11-24 21:08:10,,,2017-12-01 00:00:00
c,z,approved,2017-11-25 20:41:37,2017-12-01 00:08:10,,,2017-12-03 00:00:00
"""
PAYMENTS = """\
order_id,payment_sequential,payment_type,payment_installments,payment_value
a,1,credit_card,1,30.00
b,1,boleto,1,90.50
c,1,boleto,1,60.00
"""


def test_the_exercise_with_the_olist_files_works_where_a_learner_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/olist"
    folder.mkdir(parents=True)
    (folder / "olist_orders_dataset.csv").write_text(ORDERS)
    (folder / "olist_order_payments_dataset.csv").write_text(PAYMENTS)
    lesson = next(lesson for lesson in LESSONS if number(lesson) == "03")
    for _ in run(lesson, {"03.2": EXERCISES["03.2"].solution}):
        pass
    said = capsys.readouterr().out
    assert "1 of the orders had times that ran backwards: a" in said
    assert "Your best month: 2017-11" in said


def test_where_no_rabbitmq_is_to_be_had_the_lesson_on_it_is_skipped_by_name_and_with_how_to_get_one() -> None:
    """Also where pytest is given the lesson alone."""
    program = (
        "import sys, pytest, ecomlib.broker\n"
        "ecomlib.broker.find_server = lambda: None\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'notebooks/07_rabbitmq.ipynb']))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ECOMLIB_")}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=clean, capture_output=True, text=True, timeout=60
    )
    cells = len(code_cells(ROOT / "notebooks" / "07_rabbitmq.ipynb"))
    assert f"SKIPPED [{cells}] notebooks/07_rabbitmq.ipynb: RabbitMQ is not installed: apt-get install" in run.stdout
    assert f"{cells} skipped" in run.stdout
