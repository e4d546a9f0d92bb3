"""The emphasis syntax, as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.engine.emphasis import MAX_WEIGHT, escape, parse, plain

PLAIN = st.text(st.characters(exclude_characters="()[]\\"), min_size=1).filter(lambda text: "BREAK" not in text)


def weights(prompt: str) -> list[tuple[str, float]]:
    return [(span.text, round(span.weight, 6)) for section in parse(prompt) for span in section]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a (red) cat", [("a ", 1), ("red", 1.1), (" cat", 1)]),
        ("((red)) cat", [("red", 1.21), (" cat", 1)]),
        ("[red] cat", [("red", 0.909091), (" cat", 1)]),
        ("[[red]] cat", [("red", 0.826446), (" cat", 1)]),
        ("(red:1.3) cat", [("red", 1.3), (" cat", 1)]),
        ("(red: .5 )", [("red", 0.5)]),
        ("(red:2.)", [("red", 2)]),
        ("(a (b:2) c)", [("a ", 1.1), ("b", 2.2), (" c", 1.1)]),
        ("([red])", [("red", 1)]),
        (r"\(red\) \[cat\] \\", [(r"(red) [cat] " + "\\", 1)]),
        (r"(a \) b)", [("a ) b", 1.1)]),
        ("a cat (red", [("a cat ", 1), ("red", 1.1)]),
        ("a cat [red", [("a cat ", 1), ("red", 0.909091)]),
        ("a) cat]", [("a) cat]", 1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 0.909091)]),
        ("at 10:30, 16:9", [("at 10:30, 16:9", 1)]),
        ("16:9)", [("16:9)", 1)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("[red:1.3]", [("red:1.3", 0.909091)]),
        ("()", []),
        ("", []),
    ],
)
def test_it_weighs(prompt, expected):
    assert weights(prompt) == expected


def test_it_starts_a_section_at_every_break():
    assert parse("a cat BREAK a (dog BREAK fox)") == [
        [("a cat ", 1.0)],
        [(" a ", 1.0), ("dog ", 1.1)],
        [(" fox", 1.1)],
    ]


def test_it_takes_break_only_as_a_word_in_capitals():
    assert weights("BREAKFAST, break, DAYBREAK") == [("BREAKFAST, break, DAYBREAK", 1)]


def test_it_leaves_empty_sections_out():
    assert parse("BREAK BREAK a BREAK") == [[(" ", 1.0)], [(" a ", 1.0)]]


def test_it_keeps_weights_finite():
    assert weights("(" * 500 + "cat") == [("cat", MAX_WEIGHT)]
    assert weights("(cat:" + "9" * 500 + ")") == [("cat", MAX_WEIGHT)]


@given(PLAIN)
def test_it_gives_plain_text_back_as_it_is(text):
    assert parse(text) == [[(text, 1.0)]]


@given(st.text(min_size=1).filter(lambda text: "BREAK" not in text))
def test_it_gives_escaped_text_back_as_it_was(text):
    assert parse(escape(text)) == [[(text, 1.0)]]


@given(st.text(st.sampled_from(r"()[]\:.019 aBREAK"), max_size=60))
def test_it_parses_anything(text):
    for section in parse(text):
        assert section
        assert all(span.text and 0 <= span.weight <= MAX_WEIGHT for span in section)


def test_a_prompt_without_its_syntax_keeps_every_word():
    assert plain(r"a ((red)) [cat] (on:1.3) a \(mat\) BREAK at night") == "a red cat on a (mat) at night"
    assert plain("") == ""
