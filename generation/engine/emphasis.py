"""The emphasis syntax of prompts: `((word))`, `[word]`, `(word:1.3)`, `\\(`, `BREAK`; text in, weighted text out."""

import re
from typing import NamedTuple

STEP = 1.1  # one pair of ( ) multiplies a weight by this, one pair of [ ] divides
MAX_WEIGHT = 10.0  # keeps deep nesting and typed weights finite in half precision

_ROUND, _SQUARE = "(", "["
_LEXEME = re.compile(
    r"""\\(?P<escaped>[()\[\]\\])
      | (?P<bracket>[()\[\]])
      | :\s*(?P<weight>\d*\.?\d+|\d+\.)\s*\)
      | (?P<break>\bBREAK\b)
      | (?P<text>[^\\()\[\]:B]+|.)""",
    re.VERBOSE | re.DOTALL,
)


class Span(NamedTuple):
    """A piece of a prompt and how much it counts; 1 is ordinary."""

    text: str
    weight: float


def parse(prompt: str) -> list[list[Span]]:
    """Split a prompt into the sections between `BREAK`s, each a list of weighted spans.

    Any text parses: a bracket that is never closed counts to the end, one that was never opened is text.
    """
    pieces: list[tuple[str | None, float]] = []  # None stands for BREAK
    opened: dict[str, list[int]] = {_ROUND: [], _SQUARE: []}

    def close(bracket: str, factor: float) -> None:
        start = opened[bracket].pop()
        pieces[start:] = [(text, weight * factor) for text, weight in pieces[start:]]

    for lexeme in _LEXEME.finditer(prompt):
        kind, text = lexeme.lastgroup, lexeme[0]
        if kind == "break":
            pieces.append((None, 1.0))
        elif kind == "bracket" and text in opened:
            opened[text].append(len(pieces))
        elif kind == "bracket" and text == ")" and opened[_ROUND]:
            close(_ROUND, STEP)
        elif kind == "bracket" and text == "]" and opened[_SQUARE]:
            close(_SQUARE, 1 / STEP)
        elif kind == "weight" and opened[_ROUND]:
            close(_ROUND, float(lexeme["weight"]))
        else:
            pieces.append((lexeme["escaped"] or text, 1.0))

    while opened[_ROUND]:
        close(_ROUND, STEP)
    while opened[_SQUARE]:
        close(_SQUARE, 1 / STEP)
    return _sections(pieces)


def plain(prompt: str) -> str:
    """Return a prompt without the syntax, for a model that knows no weights."""
    return " ".join("".join(span.text for span in section).strip() for section in parse(prompt))


def escape(text: str) -> str:
    """Return text whose brackets and backslashes `parse` reads as themselves."""
    return re.sub(r"[()\[\]\\]", r"\\\g<0>", text)


def _sections(pieces: list[tuple[str | None, float]]) -> list[list[Span]]:
    sections: list[list[Span]] = [[]]
    for text, weight in pieces:
        weight = min(weight, MAX_WEIGHT)
        if text is None:
            sections.append([])
        elif sections[-1] and sections[-1][-1].weight == weight:  # neighbours join, so that words stay whole
            sections[-1][-1] = Span(sections[-1][-1].text + text, weight)
        else:
            sections[-1].append(Span(text, weight))
    return [section for section in sections if section]
