"""Text of others in Markdown: no HTML, link, heading, table or code comes through."""

import pytest

from services.reporter.markdown import block, inline


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain words, 3.5 % (AP > 0.5)", "plain words, 3.5 % (AP > 0.5)"),
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("[bank](http://x.y)", "\\[bank\\](http:// x.y)"),
        ("![](https://x.y/p.png)", "!\\[\\](https:// x.y/p.png)"),
        ("see www.x.y or a@x.y", "see www. x.y or a at x.y"),
        ("a | b `c` *d* _e_ ~f~ $g$", "a \\| b \\`c\\` \\*d\\* \\_e\\_ \\~f\\~ \\$g\\$"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("two\nlines\x1b[31m", "two lines \\[31m"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_a_line_shows_its_words_and_nothing_else(given: str, shown: str) -> None:
    assert inline(given) == shown


def test_a_long_line_is_cut() -> None:
    assert inline("x" * 400, limit=5) == "xxxx…"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("# heading", "\\# heading"),
        ("words\n===\nmore\n---", "words\n\\===\nmore\n\\---"),
        ("> quote", "\\> quote"),
        ("* one\n- two\n3. three", "- one\n- two\n- three"),
        ("- # heading in a list", "- \\# heading in a list"),
        ("- - nested", "- \\- nested"),
        ("1.5 is no list", "1\\.5 is no list"),
        ("    code", "code"),
        ("```\ncode\n```", "\\`\\`\\`\ncode\n\\`\\`\\`"),
        ("one\n\n\n\ntwo", "one\n\ntwo"),
        ("|a|b|\n|---|---|", "\\|a\\|b\\|\n\\|---\\|---\\|"),
    ],
)
def test_a_block_keeps_paragraphs_and_flat_lists_alone(given: str, shown: str) -> None:
    assert block(given) == shown
