"""Many patterns at once: which of them match a type, found without trying each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from ecomlib.patterns import check_pattern

T = TypeVar("T")


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


def is_exact(pattern: str) -> bool:
    return not {"*", "#"}.intersection(pattern.split("."))


def _with_hashes(nodes: dict[_Node[T], bool]) -> dict[_Node[T], bool]:
    """Add the '#' nodes below, for '#' may take no word at all."""
    waiting = list(nodes)
    while waiting:
        below = waiting.pop().children.get("#")
        if below is not None and not nodes.get(below):
            nodes[below] = True
            waiting.append(below)
    return nodes
