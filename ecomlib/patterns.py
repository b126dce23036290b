"""Which event types a pattern matches: AMQP's rule for topic exchanges, the same on every engine.

A type is words with dots between them (`order.created`). In a pattern `*` stands for exactly one word and `#` for
none or more. Source: AMQP 0-9-1 specification, section 3.1.3.3, "The Topic Exchange Type".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from ecomlib.errors import BadPattern, BadType

MAX_BYTES = 255  # an AMQP short string holds no more, and a type becomes a routing key

T = TypeVar("T")


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


def is_exact(pattern: str) -> bool:
    return not {"*", "#"}.intersection(pattern.split("."))


class PatternIndex(Generic[T]):
    """Finds what is filed under the patterns that match a type.

    It is a tree of words, so a look-up costs by the length of the type, not by how many patterns there are.
    """

    def __init__(self, entries: Iterable[tuple[str, T]] = ()) -> None:
        self._root: _Node[T] = _Node()
        for pattern, value in entries:
            self.add(pattern, value)

    def add(self, pattern: str, value: T) -> None:
        node = self._root
        for word in check_pattern(pattern).split("."):
            node = node.children.setdefault(word, _Node())
        node.values.append(value)

    def match(self, type: str) -> list[T]:
        """Each value once a matching pattern, in no particular order."""
        here = _with_hashes({self._root: False})
        for word in type.split("."):
            ahead: dict[_Node[T], bool] = {}
            for node, is_hash in here.items():
                if is_hash:
                    ahead[node] = True  # '#' takes this word too
                for key in (word, "*"):
                    if key in node.children:
                        ahead.setdefault(node.children[key], False)
            here = _with_hashes(ahead)
        return [value for node in here for value in node.values]


class _Node(Generic[T]):
    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: list[T] = []


def _with_hashes(nodes: dict[_Node[T], bool]) -> dict[_Node[T], bool]:
    """Add the '#' nodes below, for '#' may take no word at all."""
    waiting = list(nodes)
    while waiting:
        below = waiting.pop().children.get("#")
        if below is not None and not nodes.get(below):
            nodes[below] = True
            waiting.append(below)
    return nodes
