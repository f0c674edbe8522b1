"""Files of a result folder, each read whole or refused in one line."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from dpe_jax.errors import InputError
from dpe_jax.folder import CONFIG, MANIFEST, altered, read_json, shown
from dpe_jax.report import latex_cells
from dpe_jax.report.content import Figure, File, Row, Table, Text
from dpe_jax.report.settings_text import compact

if TYPE_CHECKING:
    from PIL.Image import Image
    from pydantic import BaseModel

_Model = TypeVar("_Model", bound="BaseModel")

_MOST_ROWS = 200
"""Of a table that are shown; its file has all."""

_MOST_BYTES = 512_000
"""Of a file that the page holds beside the figure or table that is made of it."""

_MOST_PIXELS = 50_000_000
"""Of a figure."""

_SCREEN_DPI = 200.0
"""Of a picture that does not say how large it is in print."""


class Folder:
    """A folder whose files are read; `top` is the one that the page is of.

    `cure` is the command that makes anew what is missing or damaged, where there is one.
    """

    def __init__(self, path: Path, top: Path | None = None, cure: str = "") -> None:
        self.path = path
        self.top = path if top is None else top
        self.cure = cure

    def cured(self, cure: str) -> "Folder":
        """The same, with the command that cures it."""
        return Folder(self.path, self.top, cure)

    def within(self, name: str) -> "Folder":
        """A folder in this one; refused if it is none, or lies elsewhere."""
        folder = Folder(self._inside(name), self.top, self.cure)
        if not folder.path.is_dir():
            raise self.refused(f"{self._shown(name)}/ is missing")
        return folder

    def refused(self, why: str) -> InputError:
        """The error that says what is wrong with the folder."""
        cure = f"; {self.cure} makes anew what is damaged" if self.cure else ""
        return InputError("DIR", str(self.top), f"a whole result ({why}{cure})")

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def data(self, name: str) -> bytes:
        """What a file holds."""
        path = self._inside(name)
        if not path.is_file():
            raise self.refused(f"{self._shown(name)} is missing")
        try:
            return path.read_bytes()
        except OSError as error:
            why = error.strerror or error
            raise self.refused(f"{self._shown(name)} cannot be read: {why}") from error

    def text(self, name: str) -> str:
        """A file of text."""
        try:
            return self.data(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self.refused(f"{self._shown(name)} is no text in UTF-8") from error

    def json(self, name: str) -> dict[str, Any]:
        """The object in a file."""
        self.data(name)
        try:
            return read_json(self.path / name)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.refused(f"{self._shown(name)} is no whole JSON: {error}") from error

    def model(self, name: str, kind: type[_Model], value: Any = None) -> _Model:
        """The object in a file, or a `value` from it, as the entries that a page needs."""
        from pydantic import ValidationError

        try:
            return kind.model_validate(self.json(name) if value is None else value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            shown = f"{self._shown(name)}: {where}: {first['msg']}"
            raise self.refused(shown) from error

    def config(self, printed: bool = True) -> Text:
        """config.toml, on paper too if it is to be `printed`."""
        import tomllib

        text = self.text(CONFIG)
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self.refused(f"{self._shown(CONFIG)} is no valid TOML: {error}") from error
        return Text(self._shown(CONFIG), compact(text), printed)

    def figure(self, name: str, caption: str, files: tuple[str, ...]) -> Figure:
        """A figure from its files, one of which is a PNG."""
        pictures = [path for path in files if path.lower().endswith(".png")]
        if len(pictures) != 1:
            raise self.refused(f"figure {self._shown(name)} has {len(pictures)} PNG files, not one")
        data = self.data(pictures[0])
        image = self._decoded(pictures[0], data)
        inches = image.width / float(image.info.get("dpi", (_SCREEN_DPI,))[0] or _SCREEN_DPI)
        smaller, kind = _smaller(image, data)
        others = tuple(self.file(path) for path in files if path != pictures[0])
        return Figure(name, caption, smaller, kind, image.width, image.height, inches, others)

    def table(
        self, name: str, caption: str, files: tuple[str, ...], heads: tuple[str, ...] = ()
    ) -> Table:
        """A table from its files, one of which is CSV, under its `heads` or those of the file."""
        head, *rows = self.sheet(name, files)
        if heads and len(heads) != len(head):
            told = f"{len(heads)} headings for {len(head)} columns"
            raise self.refused(f"table {self._shown(name)} has {told}")
        head = heads or tuple(text.replace("_", " ") for text in head)
        cells = self._cells(rows, files)
        kept: tuple[Row, ...] = tuple(map(tuple, cells[:_MOST_ROWS]))
        rounded = latex_cells.rounds(rows, cells)
        notes = ["Numbers are rounded; the CSV file has all digits."] if rounded else []
        if len(rows) > _MOST_ROWS:
            notes.append(f"The first {_MOST_ROWS} of {len(rows)} rows.")
        held = tuple(self.file(path) for path in files)
        return Table(caption, head, kept, " ".join(notes), held)

    def sheet(self, name: str, files: tuple[str, ...]) -> list[list[str]]:
        """The rows of a table, its head first, by its files."""
        sheets = [path for path in files if path.lower().endswith(".csv")]
        if len(sheets) != 1:
            raise self.refused(f"table {self._shown(name)} has {len(sheets)} CSV files, not one")
        return self._sheet(sheets[0])

    def _cells(self, rows: list[list[str]], files: tuple[str, ...]) -> list[list[str]]:
        """The cells of a table to the digits of its LaTeX file, if it has one."""
        name = next((path for path in files if path.lower().endswith(".tex")), None)
        try:
            return latex_cells.shown(rows, "" if name is None else self.text(name))
        except latex_cells.DisagreementError as error:
            raise self.refused(f"{self._shown(str(name))} {error} of its CSV file") from error

    def file(self, name: str) -> File:
        """A file for the page to hold, unless it is large."""
        data = self.data(name)
        if not data:
            raise self.refused(f"{self._shown(name)} is empty")
        if name.lower().endswith(".csv"):
            self._sheet(name)
        return File(self._shown(name), len(data), data if len(data) <= _MOST_BYTES else None)

    def check_digests(self, told: Mapping[str, str]) -> None:
        """Refuse what is not as it was written."""
        for name, wrong in altered(self.path, told):
            raise self.refused(f"{self._shown(name)} {wrong}")

    def others(self, known: set[str]) -> list[str]:
        """What lies in the folder that no one speaks of, sorted."""
        names = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
        return sorted(map(shown, names - known))

    def half_written(self) -> list[str]:
        """Files that a process has left behind that was killed while it wrote."""
        return sorted(
            shown(path.relative_to(self.top).as_posix())
            for path in self.path.rglob(".*")
            if ".partial" in path.name or path.name.endswith((".unfinished", ".old"))
        )

    def _inside(self, name: str) -> Path:
        """A path that stays in the folder, also where links lead elsewhere."""
        path = self.path / name
        parts = PurePosixPath(name).parts
        outside = PurePosixPath(name).is_absolute() or ".." in parts or not parts or "\\" in name
        if outside or not path.resolve().is_relative_to(self.path.resolve()):
            what = "is no path within the folder" if outside else "is a link that leads out of it"
            told = f"{name!r} in {self._shown(MANIFEST)} {what}"
            raise self.cured("").refused(told)
        return path

    def _shown(self, name: str) -> str:
        """A path from the top."""
        return (self.path / name).relative_to(self.top).as_posix()

    def _decoded(self, name: str, data: bytes) -> "Image":
        from PIL import Image

        broken = OSError, SyntaxError, ValueError, Image.DecompressionBombError
        try:
            image = Image.open(io.BytesIO(data), formats=("PNG",))
            pixels = image.width * image.height
            if pixels <= _MOST_PIXELS:
                image.load()
        except broken as error:
            raise self.refused(f"{self._shown(name)} is no whole PNG: {error}") from error
        if pixels > _MOST_PIXELS:
            raise self.refused(f"{self._shown(name)} has more than {_MOST_PIXELS:,} pixels")
        return image

    def _sheet(self, name: str) -> list[list[str]]:
        """Rows of a CSV file, all as long as its head."""
        try:
            rows = list(csv.reader(io.StringIO(self.text(name), newline=""), strict=True))
        except csv.Error as error:
            raise self.refused(f"{self._shown(name)} is no whole CSV: {error}") from error
        if len(rows) < 2:
            raise self.refused(f"{self._shown(name)} has no rows")
        for place, row in enumerate(rows[1:], 2):
            if len(row) != len(rows[0]):
                told = f"{len(row)} cells under {len(rows[0])} headings"
                raise self.refused(f"{self._shown(name)}, row {place}: {told}")
        return rows


def _smaller(image: "Image", data: bytes) -> tuple[bytes, Literal["png", "webp"]]:
    """The same pixels in fewer bytes: lossless WebP, where it can be written and is smaller."""
    from PIL import features

    ordinary = image.mode in ("RGB", "RGBA", "L", "P") and max(image.size) <= 16_383
    if not ordinary or not features.check("webp"):
        return data, "png"
    pixels = image.convert("RGBA")
    if pixels.getchannel("A").getextrema() == (255, 255):
        pixels = pixels.convert("RGB")
    stream = io.BytesIO()
    pixels.save(stream, "WEBP", lossless=True, quality=50, method=2, exact=True)
    found = stream.getvalue()
    return (found, "webp") if len(found) < len(data) else (data, "png")
