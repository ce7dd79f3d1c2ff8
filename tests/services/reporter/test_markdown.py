"""Text of others in Markdown: no HTML, link, heading, table or code comes through."""

import pytest

from services.reporter.markdown import inline


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
