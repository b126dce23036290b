"""show_code: the source as it is, in colours that follow the theme."""

from __future__ import annotations

import re

import pytest

from ecomlib.bus import EventBus
from ecomlib.lab.source import show_code
from ecomlib.patterns import matches


def test_a_function_is_shown_under_the_name_of_its_file() -> None:
    lines = repr(show_code(matches)).splitlines()
    assert lines[0] == "# ecomlib/patterns.py"
    assert lines[1] == "def matches(pattern: str, type: str) -> bool:"
    assert lines[-1] == "    return len(words) in reached"


def test_a_method_or_a_property_loses_the_indent_of_its_class() -> None:
    assert "\ndef publish(self" in repr(show_code(EventBus.publish))
    assert "\ndef history(self" in repr(show_code(EventBus.history))


def test_its_colours_are_the_theme_s_own() -> None:
    page = show_code(matches)._repr_html_()
    assert "var(--jp-mirror-editor-keyword-color" in page
    assert "background" not in page
    assert not re.search(r"color: (?!var)", page)


def test_what_has_no_source_is_named() -> None:
    for thing in (print, 7, len):
        with pytest.raises(TypeError, match="has no source to show: name a class or a function"):
            show_code(thing)
