"""Which event types a pattern matches: AMQP's rule for topic exchanges, the same on every engine.

A type is words with dots between them (`order.created`). In a pattern `*` stands for exactly one word and `#` for
none or more. Source: AMQP 0-9-1 specification, section 3.1.3.3, "The Topic Exchange Type".
"""

from __future__ import annotations

from ecomlib.errors import BadPattern, BadType

MAX_BYTES = 255  # an AMQP short string holds no more, and a type becomes a routing key


def check_type(type: str) -> str:
    """Return `type` as it is, or raise `BadType` with a sentence that says what is wrong with it."""
    problem = _problem(type)
    if problem is None and ("*" in type or "#" in type):
        problem = "'*' and '#' belong in patterns; an event's type is exact"
    if problem:
        said = f"{type!r:.60} is no event type: {problem}. Write words with dots between: 'order.created'."
        raise BadType(said, field="type")
    return type


def check_pattern(pattern: str) -> str:
    """Return `pattern` as it is, or raise `BadPattern` with a sentence that says what is wrong with it."""
    problem = _problem(pattern)
    if problem is None:
        for word in pattern.split("."):
            if word not in ("*", "#") and ("*" in word or "#" in word):
                problem = f"the word {word!r} mixes a wildcard with something else"
    if problem:
        raise BadPattern(
            f"{pattern!r:.60} is no pattern: {problem}. '*' stands for one whole word, '#' for none or more: "
            "'order.*', 'order.#', '*.created'."
        )
    return pattern


def check_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """What somebody subscribes to, each once. Raises `BadPattern` where one is none, or where there is none."""
    if not patterns:
        raise BadPattern("Subscribe to at least one pattern; '#' takes every event.")
    return tuple(dict.fromkeys(map(check_pattern, patterns)))


def _problem(text: object) -> str | None:
    if not isinstance(text, str):
        return "it is not text"
    if not text:
        return "it is empty"
    if "" in text.split("."):
        return "there is no word before, between or after its dots"
    if any(c.isspace() or not c.isprintable() for c in text):
        return "it holds a space or another character that can't be seen"
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return f"it is longer than {MAX_BYTES} bytes"
    return None


def matches(pattern: str, type: str) -> bool:
    """The rule itself. It follows every way to read the pattern at once, so no pattern is slow."""
    words = type.split(".")
    reached = {0}  # how many of the type's words the pattern may have used up so far
    for word in pattern.split("."):
        if word == "#":
            reached = set(range(min(reached), len(words) + 1))
        else:
            reached = {n + 1 for n in reached if n < len(words) and word in ("*", words[n])}
        if not reached:
            return False
    return len(words) in reached
