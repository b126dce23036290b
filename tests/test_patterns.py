"""Which types a pattern matches, held against a second definition of the same rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecomlib.errors import BadEvent, BadPattern, BadType
from ecomlib.pattern_index import PatternIndex, is_exact
from ecomlib.patterns import MAX_BYTES, check_pattern, check_type, matches

words = st.sampled_from(["a", "b", "order", "created", "ü"])
types = st.lists(words, min_size=1, max_size=6).map(".".join)
patterns = st.lists(words | st.sampled_from(["*", "#"]), min_size=1, max_size=6).map(".".join)


def as_regex(pattern: str) -> str:
    """The same rule put another way, over a text in which a dot stands before every word."""
    parts = {"*": r"\.[^.]+", "#": r"(?:\.[^.]+)*"}
    return "".join(parts.get(word, re.escape(f".{word}")) for word in pattern.split("."))


@given(patterns, types)
@example("#", "a")
@example("a.#", "a")
@example("#.a.#", "a.b.a")
@example("#.#.*", "a")
@example("*.#.*", "a")
def test_a_pattern_matches_what_the_rule_written_as_a_regular_expression_matches(pattern: str, type: str) -> None:
    assert matches(pattern, type) == bool(re.fullmatch(as_regex(pattern), f".{type}"))


@given(st.lists(patterns, max_size=12), types)
@example(["#", "#.#", "a.#.#", "*.#", "a"], "a")
def test_the_index_finds_each_value_once_a_matching_pattern(chosen: list[str], type: str) -> None:
    index = PatternIndex(enumerate_by_pattern(chosen))
    assert sorted(index.match(type)) == [n for n, pattern in enumerate(chosen) if matches(pattern, type)]


def enumerate_by_pattern(chosen: list[str]) -> list[tuple[str, int]]:
    return [(pattern, n) for n, pattern in enumerate(chosen)]


def test_a_value_filed_under_two_matching_patterns_is_found_twice() -> None:
    index = PatternIndex([("order.*", "both"), ("#", "both"), ("order.paid", "one")])
    assert index.match("order.created") == ["both", "both"]


@given(patterns)
def test_a_pattern_without_wildcards_is_exact_and_matches_itself_alone(pattern: str) -> None:
    wild = bool({"*", "#"} & set(pattern.split(".")))
    assert is_exact(pattern) != wild
    assert wild or matches(pattern, pattern)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "it is empty"),
        ("order.**", "'**' mixes a wildcard"),
        ("order.c*", "'c*' mixes a wildcard"),
        ("order.#created", "'#created' mixes a wildcard"),
        ("a..b", "no word before, between or after its dots"),
        (".order", "no word before"),
        ("order.", "no word before"),
        ("order created", "holds a space"),
        ("order.\n", "can't be seen"),
        ("order.\ud800", "can't be seen"),
        ("o" * (MAX_BYTES + 1), "longer than 255 bytes"),
        ("ü" * 128, "longer than 255 bytes"),
        (None, "it is not text"),
        (5, "it is not text"),
    ],
)
def test_a_bad_pattern_is_refused_with_a_sentence_that_says_why(pattern: str, says: str) -> None:
    with pytest.raises(BadPattern) as refused:
        check_pattern(pattern)
    assert says in str(refused.value)
    assert "'order.*'" in str(refused.value)  # and how to do it right
    with pytest.raises(BadPattern):
        PatternIndex([(pattern, None)])


@pytest.mark.parametrize("type", ["", "order.*", "#", "a..b", "a b", "x" * 256, None, b"order"])
def test_a_bad_type_is_refused_as_a_bad_event(type: str) -> None:
    with pytest.raises(BadType, match="is no event type") as refused:
        check_type(type)
    assert isinstance(refused.value, BadEvent)


@given(types)
def test_every_type_is_a_pattern_too(type: str) -> None:
    assert check_type(type) == check_pattern(type) == type


@given(st.text(max_size=300))
def test_any_text_at_all_is_accepted_or_refused_by_a_sentence(text: str) -> None:
    sentence = ""
    try:
        assert check_pattern(text) == text
    except BadPattern as refused:
        sentence = str(refused)
    assert len(sentence) < 700  # the text is shown, but not all of a long one


def test_no_pattern_is_slow_however_its_wildcards_are_stacked() -> None:
    """Such a pattern takes a matcher that tries one reading after the other longer than the age of the world."""
    type = ".".join(["a"] * 120)
    assert not matches(".".join(["#", "a"] * 60 + ["b"]), type)
    index = PatternIndex([(".".join(["#", "a"] * 60), "all"), (".".join(["#"] * 100 + ["b"]), "none")])
    assert index.match(type) == ["all"]
