"""The library's own source, shown in a lesson in the colours of JupyterLab's theme, light or dark."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any, ClassVar

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pygments.style import Style
from pygments.token import Comment, Keyword, Name, Number, Operator, String

ROOT = Path(__file__).resolve().parents[2]


class ThemeStyle(Style):  # type: ignore[misc]  # Pygments ships no types
    """JupyterLab's own variables, so the colours follow its theme; elsewhere the colours behind the commas."""

    styles: ClassVar = {
        Comment: "italic var(--jp-mirror-editor-comment-color,#408080)",
        Keyword: "bold var(--jp-mirror-editor-keyword-color,#008000)",
        Operator.Word: "bold var(--jp-mirror-editor-keyword-color,#008000)",
        Name.Builtin: "var(--jp-mirror-editor-builtin-color,#008000)",
        Name.Class: "var(--jp-mirror-editor-def-color,#0000ff)",
        Name.Function: "var(--jp-mirror-editor-def-color,#0000ff)",
        Name.Decorator: "var(--jp-mirror-editor-meta-color,#aa22ff)",
        Number: "var(--jp-mirror-editor-number-color,#666666)",
        String: "var(--jp-mirror-editor-string-color,#ba2121)",
    }


class Source:
    """Python code that a notebook shows with colours, and a terminal as plain text."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __repr__(self) -> str:
        return self.code

    def _repr_html_(self) -> str:
        formatter = HtmlFormatter(style=ThemeStyle, noclasses=True, nobackground=True, prestyles="margin: 0")
        return str(highlight(self.code, PythonLexer(), formatter))


def show_code(obj: Any) -> Source:
    """The source of a class, function or method, under a line that names its file.

    Raises `TypeError` for what has no source in Python, such as a number or `print`.
    """
    obj = obj.fget if isinstance(obj, property) else obj
    try:
        path, code = Path(inspect.getsourcefile(obj) or ""), inspect.getsource(obj)
    except (TypeError, OSError):
        raise TypeError(
            f"{obj!r:.60} has no source to show: name a class or a function, like EventBus.publish."
        ) from None
    place = f"# {path.relative_to(ROOT).as_posix()}\n" if path.is_relative_to(ROOT) else ""
    return Source(place + textwrap.dedent(code).rstrip())
