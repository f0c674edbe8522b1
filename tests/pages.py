"""An HTML page as a test reads it: headings, tables, pictures, links and plain text."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

_VOID = {"meta", "link", "img", "br", "hr", "input"}


_WHOLE = ("caption", "th", "td", "li", "dt", "dd", "h1", "h2", "h3", "h4")
"""Elements whose text is kept."""


_MARKS = {"code": "`", "sub": "_", "sup": "^"}
"""What stands in plain text where an element begins."""


class Read(HTMLParser):
    """What is on a page; refuses one whose tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.headings: list[tuple[int, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.images: list[dict[str, str | None]] = []
        self.links: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.lists: dict[str, list[str]] = {}
        self.terms: list[tuple[str, str]] = []
        self.items: list[tuple[list[str], str]] = []
        self.text = ""
        self._open: list[str] = []
        self._kept: list[list[str]] = []
        self._list = ""
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self._say(_MARKS.get(tag, ""))
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "img":
            self.images.append(found)
        if tag == "a":
            self.links.append(found)
        if tag == "table":
            self._rows: list[list[str]] = []
        if tag == "tr":
            self._rows.append([])
        if tag == "ul":
            self._list = str(found.get("class"))
        if tag not in _VOID:
            self._open.append(tag)
        if tag in _WHOLE:
            self._kept.append([])

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._say("`" if tag == "code" else "")
        if tag in _WHOLE:
            said = " ".join("".join(self._kept.pop()).split())
            if tag == "caption":
                self._caption = said
            elif tag in ("th", "td"):
                self._rows[-1].append(said)
            elif tag == "li":
                self.lists.setdefault(self._list, []).append(said)
                self.items.append(([one for one in self._open if one in ("details", "ul")], said))
            elif tag in ("dt", "dd"):
                self.terms.append((tag, said))
            else:
                self.headings.append((int(tag[1]), said))
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            return
        self._say(data)

    def _say(self, data: str) -> None:
        for kept in self._kept:
            kept.append(data)
        self.text += data

    def ancestors(self, words: str) -> list[list[str]]:
        """The lists and folds around each item of a list with these words."""
        return [around for around, said in self.items if words in said]

    def table(self, words: str) -> list[list[str]]:
        """The rows of the one table whose caption has these words."""
        (found,) = [rows for caption, rows in self.tables.items() if words in caption]
        return found


def read(path: Path) -> Read:
    return Read(path.read_text(encoding="utf-8"))


def pixels(address: str) -> np.ndarray:
    """Those of a picture that a page holds."""
    kind, _, data = address.partition(";base64,")
    assert kind in ("data:image/webp", "data:image/png")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def held(link: dict[str, str | None]) -> bytes:
    """What the file holds that a link gives."""
    return base64.b64decode(str(link["href"]).partition(";base64,")[2])


def close(shown: str, value: float | None, digits: int = 3) -> bool:
    """Whether a text is a number in so many digits."""
    if value is None:
        return shown == "none"
    number = float(shown.replace(",", ""))
    return abs(number - value) <= 0.5001 * 10.0 ** (1 - digits) * abs(value)
