"""The exercises of lesson 07: what an exchange does, prefetch, and when to acknowledge. None needs a RabbitMQ.

The worker that stalls is in `small_worker.py`.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.lab.exercises.small_worker import HANDLE
from ecomlib.patterns import matches

# --- 07.1: what an exchange does ------------------------------------------------------------------------------

BINDINGS = {"mail": ("order.created", "user.registered"), "audit": ("#", "order.*"), "stock": ("order",)}
PUBLISHED = ("order.created", "user.registered", "order.paid")
A_DICT = "Answer with a dict of the three queues, each with a number, like {'mail': 1, 'audit': 1, 'stock': 1}."
FANOUT = "A fanout exchange would do that: everything to everyone. A topic exchange looks at the routing key."
PREFIX = "stock is bound with order: that is one word, and no message has a routing key of one word only."
EACH_BINDING = "Two bindings of audit match order.paid. But a queue gets a message once, or not at all."
SHARED = "You dealt three messages out to the queues. An exchange gives each queue that matches a copy of its own."
HASH = "audit is bound with #, too, and # matches every routing key."
EACH_QUEUE = "Take one queue after the other: which of the three routing keys match one of its patterns?"


def judge_depths(answer: Any) -> str | None:
    if not isinstance(answer, dict) or set(answer) != set(BINDINGS):
        return A_DICT
    if not all(type(depth) is int for depth in answer.values()):
        return A_DICT
    right = {
        queue: sum(any(matches(pattern, key) for pattern in patterns) for key in PUBLISHED)
        for queue, patterns in BINDINGS.items()
    }
    if answer == right:
        return None
    if set(answer.values()) == {len(PUBLISHED)}:
        return FANOUT
    if answer["stock"] != right["stock"]:
        return PREFIX
    if answer["audit"] > right["audit"]:
        return EACH_BINDING
    if sum(answer.values()) == len(PUBLISHED):
        return SHARED
    return HASH if answer["audit"] < right["audit"] else EACH_QUEUE


DEPTHS = Exercise(
    id="07.1",
    name="depths",
    blank="depths = None  # a dict, like {'mail': 1, 'audit': 1, 'stock': 1}",
    judge=judge_depths,
    right="Right: a copy for each queue that matches, and one only, however many of its patterns match.",
    nudge="Write the three routing keys in a row, and the three queues below each other. Tick what matches.",
    wrong=(
        ("depths = {'mail': 2, 'audit': 5, 'stock': 0}", EACH_BINDING),
        ("depths = {'mail': 3, 'audit': 3, 'stock': 3}", FANOUT),
        ("depths = {'mail': 2, 'audit': 3, 'stock': 2}", PREFIX),
        ("depths = {'mail': 2, 'audit': 1, 'stock': 0}", SHARED),
        ("depths = {'mail': 2, 'audit': 2, 'stock': 0}", HASH),
        ("depths = {'mail': 1, 'audit': 3, 'stock': 0}", EACH_QUEUE),
        ("depths = [2, 3, 0]", A_DICT),
    ),
    solution="depths = {'mail': 2, 'audit': 3, 'stock': 0}",
)

# --- 07.3: prefetch -------------------------------------------------------------------------------------------

MESSAGES = 40
NUMBERS = "Answer with a dict: the number of messages that are done, for prefetch 10 and for 1, like {10: 5, 1: 5}."
HOARDED = "With prefetch 10 the slow worker has ten in hand. They are its own, even if the other one is idle."
HALF = "A queue does not deal out half and half. Whoever acknowledges gets more, and the fast one does so all the time."
ONE_IN_HAND = "One message is always in the slow worker's hand, and after a minute it is not done yet."
WAIT_FOR_IT = "The fast worker waits for nobody: each time that it acknowledges, it gets more."
ONE_LESS = "The one that the slow worker works at is one of its ten, not one more."
HANDS = "How many can the slow worker have in hand? All the others are done by the fast one."


def judge_done(answer: Any) -> str | None:
    if not isinstance(answer, dict) or set(answer) != {10, 1} or not all(type(n) is int for n in answer.values()):
        return NUMBERS
    right = {prefetch: MESSAGES - prefetch for prefetch in (10, 1)}
    if answer == right:
        return None
    if not answer[10] or not answer[1]:
        return WAIT_FOR_IT
    if MESSAGES in answer.values():
        return ONE_IN_HAND
    if MESSAGES // 2 in answer.values():
        return HALF
    if answer[10] == right[1]:
        return HOARDED
    return ONE_LESS if answer[10] in (right[10] - 1, right[10] + 1) else HANDS


DONE = Exercise(
    id="07.3",
    name="done",
    blank="done = None  # a dict, like {10: 5, 1: 5}",
    judge=judge_done,
    right="Right: what the slow worker has in hand waits with it, and nobody else may take it.",
    nudge="The slow worker acknowledges nothing. How many may it have in hand then? Where are the rest?",
    wrong=(
        ("done = {10: 39, 1: 39}", HOARDED),
        ("done = {10: 20, 1: 20}", HALF),
        ("done = {10: 30, 1: 20}", HALF),
        ("done = {10: 30, 1: 40}", ONE_IN_HAND),
        ("done = {10: 0, 1: 0}", WAIT_FOR_IT),
        ("done = {10: 29, 1: 38}", ONE_LESS),
        ("done = {10: 10, 1: 1}", HANDS),
        ("done = [30, 39]", NUMBERS),
    ),
    solution="done = {10: 30, 1: 39}",
)

# --- 07.4: when to acknowledge --------------------------------------------------------------------------------

PARTS = ("acknowledge", "commit", "id", "totals")
A_LIST = "Answer with a list of these four, each one once: 'id', 'totals', 'commit', 'acknowledge'."
LOST = "It dies between 'acknowledge' and 'commit': RabbitMQ has forgotten the event, and nobody has counted it."
ID_ALONE = "It dies when the id is saved and the totals are not: the event comes again, is known, and is not counted."
COUNTED_TWICE = "It dies when the totals are saved and the id is not: the event comes again, and is counted twice."
NOTHING_SAVED = "Your commit comes before there is anything to save. What is written after it is gone at a death."


def _counted(order: list[str], lives: int) -> int:
    """How often an event counts whose worker dies after so many parts; another worker follows, if it comes again."""
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE TABLE totals (n)")
        database.execute("CREATE TABLE seen (id)")
        database.commit()
        for parts in (order[:lives], order):
            known = database.execute("SELECT * FROM seen").fetchall()
            for part in parts:
                if part == "commit":
                    database.commit()
                elif part != "acknowledge" and not known:
                    database.execute(f"INSERT INTO {'seen' if part == 'id' else 'totals'} VALUES (1)")
            database.rollback()  # it dies
            if "acknowledge" in parts:
                break
        return int(database.execute("SELECT COUNT(*) FROM totals").fetchone()[0])
    finally:
        database.close()


def judge_order(answer: Any) -> str | None:
    if not isinstance(answer, list | tuple) or not all(isinstance(part, str) for part in answer):
        return A_LIST
    order = list(answer)
    if sorted(order) != sorted(PARTS):
        return A_LIST
    if all(_counted(order, lives) == 1 for lives in range(len(PARTS) + 1)):
        return None
    place = order.index
    if place("acknowledge") < place("commit"):
        return LOST
    if place("commit") < min(place("id"), place("totals")):
        return NOTHING_SAVED
    return ID_ALONE if place("id") < place("commit") else COUNTED_TWICE


ORDER = Exercise(
    id="07.4",
    name="parts",
    blank="parts = None  # a list, like ['commit', 'acknowledge', 'totals', 'id']",
    judge=judge_order,
    right="Right: id and totals are saved in one moment, and only then is RabbitMQ told. It counts once in effect.",
    nudge="Let the worker die between each two of them. Is the event lost then? Is it counted twice?",
    wrong=(
        ("parts = ['acknowledge', 'id', 'totals', 'commit']", LOST),
        ("parts = ['id', 'totals', 'acknowledge', 'commit']", LOST),
        ("parts = ['id', 'commit', 'totals', 'acknowledge']", ID_ALONE),
        ("parts = ['totals', 'commit', 'id', 'acknowledge']", COUNTED_TWICE),
        ("parts = ['totals', 'commit', 'acknowledge', 'id']", COUNTED_TWICE),
        ("parts = ['commit', 'id', 'totals', 'acknowledge']", NOTHING_SAVED),
        ("parts = ['id', 'totals', 'commit']", A_LIST),
        ("parts = 'first the commit'", A_LIST),
    ),
    solution="parts = ['id', 'totals', 'commit', 'acknowledge']",
)

EXERCISES: tuple[Exercise, ...] = (DEPTHS, HANDLE, DONE, ORDER)
