"""Texts of result folders as HTML: all of it escaped; code, indices and powers set as such."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

_INDEX = r"(?:\{[^{}<>]*\}|−\d+\.\d+|−?[A-Za-z0-9Α-ω*]+)"

_SET = re.compile(
    r"`(?P<code>[^`\n]+)`"
    # A letter, a number or a closing bracket with indices or powers, such as x̄_k, 2^32, (k + 1)^−β;
    # in a word or a path, such as gap_mean_state, x_1.csv or no-a_b, nothing is one.
    r"|(?P<base>(?<![A-Za-z0-9_/.\-\\])"
    r"(?:(?:mean|max|min|sup|[A-Za-zΑ-ω][\u0302-\u0304]?)|\d+(?=\^))|[)\]‖](?=\^))"
    rf"(?P<indices>(?:[_^]{_INDEX})+)(?![A-Za-z0-9_/\\]|[.\-]\w)"
)


def marked(text: str) -> "Markup":
    """The text as HTML: `code`, x_k and γ^k as elements, and everything else as it is."""
    from markupsafe import Markup, escape

    found, end = [], 0
    for match in _SET.finditer(text):
        found += [escape(text[end : match.start()]), _element(match)]
        end = match.end()
    return Markup("").join([*found, escape(text[end:])])


def _element(match: re.Match[str]) -> "Markup":
    from markupsafe import Markup, escape

    if match["code"] is not None:
        return Markup("<code>{}</code>").format(match["code"])
    indices = re.findall(rf"([_^])({_INDEX})", match["indices"])
    names = {"_": "sub", "^": "sup"}
    return escape(match["base"]) + Markup("").join(
        Markup(f"<{names[mark]}>{{}}</{names[mark]}>").format(index.strip("{}"))
        for mark, index in indices
    )
