"""The panel's words and tables as HTML. Its colours are those of the JupyterLab theme (`style.css`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from importlib.resources import files

from ecomlib.lab.desk import Message, Row, said
from ecomlib.ports import DeadLetter


def style() -> str:
    return f"<style>{files('ecomlib.lab').joinpath('style.css').read_text(encoding='utf-8')}</style>"


def message(message: Message) -> str:
    return status(str(message), "ok" if message.ok else "error")


def status(text: str, kind: str = "ok") -> str:
    """What screen readers say when it changes."""
    return f'<p class="ecomlib-said ecomlib-{kind}" role="status">{_marked(text)}</p>'


def counters(numbers: Mapping[str, int | str]) -> str:
    tiles = "".join(
        f'<div class="ecomlib-tile"><dt>{escape(name)}</dt><dd>{_grouped(number)}</dd></div>'
        for name, number in numbers.items()
    )
    return f'<dl class="ecomlib-counters">{tiles}</dl>'


def attempts(rows: Sequence[Row], *, errors: bool = True) -> str:
    """The latest first. Without `errors` a narrow table, for large type."""
    heads: tuple[str, ...] = ("Event", "Subject", "Service", "Attempt", "Outcome", "Error")
    cells = [tuple(map(str, row)) for row in rows]
    if not errors:
        heads = ("Event", *heads[2:5])
        cells = [(f"{cell[0]} {cell[1]}", *cell[2:5]) for cell in cells]
    return table("Attempts, the latest first", heads, cells, empty="None yet.", name="attempts")


def dead_letters(letters: Sequence[DeadLetter], shown: int) -> str:
    cells = [
        (letter.event.type, letter.event.subject or "", letter.subscription, str(letter.attempts), said(letter.error))
        for letter in letters[-shown:][::-1]
    ]
    older = f" ({shown} of {len(letters)})" if len(letters) > shown else ""
    heads = ("Event", "Subject", "Service", "Attempts", "Error")
    return table(f"Dead letters{older}", heads, cells, empty="None: every delivery ended well.", name="letters")


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str, name: str) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_marked(text)}</td>' for text in row)}</tr>" for row in rows)
    return (
        f'<table class="ecomlib-table ecomlib-{name}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead>"
        f'<tbody>{body or f"""<tr><td colspan="{len(heads)}">{escape(empty)}</td></tr>"""}</tbody></table>'
    )


def note(text: str, name: str) -> str:
    return f'<p class="ecomlib-note ecomlib-{name}">{_marked(text)}</p>'


def _marked(text: str) -> str:
    """Safe in HTML, with ✓ and ✗ in their colours: the sign says it, the colour only helps."""
    safe = escape(text)
    return safe.replace("✓", '<b class="ecomlib-yes">✓</b>').replace("✗", '<b class="ecomlib-no">✗</b>')


def _grouped(number: int | str) -> str:
    return f"{number if isinstance(number, int) else Decimal(number):,}"
