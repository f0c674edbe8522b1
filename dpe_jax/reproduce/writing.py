"""What is written of a part: figures, tables, and the manifest that names them."""

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpe_jax import drawing
from dpe_jax.folder import MANIFEST, digests, jsonable, whole, write_json
from dpe_jax.reproduce import latex
from dpe_jax.reproduce.part import Drawing, Made, Part, Scale, Settings, Table
from dpe_jax.reproduce.settings import settings_hash
from dpe_jax.results import device, versions

FIGURES, TABLES = "figures", "tables"


def write_part(
    folder: Path,
    name: str,
    part: Part,
    made: Made,
    settings: Settings,
    scale: Scale,
    took: float,
    *,
    resumed: bool = False,
) -> dict[str, Any]:
    """Write the figures, the tables and, last, the manifest of a part; returns the manifest.

    The seconds that it `took` are those since it was `resumed`, if it was.
    """
    figures = [_figure(folder, drawn) for drawn in made.drawings]
    tables = [_table(folder, table) for table in made.tables]
    manifest = {
        "kind": "part",
        "part": name,
        "title": part.TITLE,
        "scale": scale,
        "config_hash": settings_hash(settings),
        "versions": versions(),
        "device": device(),
        "seed": settings.seed,
        "seconds": round(took, 3),
        "resumed": resumed,
        "written": now(),
        "checks": [check._asdict() for check in made.checks],
        "differs": made.differs,
        "source": part.SOURCE,
        "figures": figures,
        "tables": tables,
        "sha256": digests(folder),
    }
    write_json(folder / MANIFEST, manifest)
    return jsonable(manifest)


def now() -> str:
    """2026-01-31T23:59:59Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _figure(folder: Path, drawn: Drawing) -> dict[str, Any]:
    paths = [folder / FIGURES / f"{drawn.name}.{kind}" for kind in ("pdf", "png", "csv")]
    with drawing.writing(folder / FIGURES):
        figure = drawn.draw()
        for path in paths[:2]:
            drawing.save(figure, path)
    _csv(paths[2], list(drawn.rows[0]), list(drawn.rows[0]), drawn.rows)
    return _entry(folder, drawn, paths)


def _table(folder: Path, table: Table) -> dict[str, Any]:
    rows = [{key: _plain(value) for key, value in row.items()} for row in table.rows]
    table = table._replace(rows=rows)
    (folder / TABLES).mkdir(exist_ok=True)
    paths = [folder / TABLES / f"{table.name}.{kind}" for kind in ("csv", "tex")]
    heads = [column.key + (f" [{column.unit}]" if column.unit else "") for column in table.columns]
    _csv(paths[0], [column.key for column in table.columns], heads, table.rows)
    with whole(paths[1]) as stream:
        stream.write(latex.document(table).encode())
    shown = [column.head + (f" [{column.unit}]" if column.unit else "") for column in table.columns]
    return {**_entry(folder, table, paths), "heads": shown}


def _entry(folder: Path, item: Drawing | Table, paths: list[Path]) -> dict[str, Any]:
    return {
        "name": item.name,
        "caption": item.caption,
        "files": [path.relative_to(folder).as_posix() for path in paths],
    }


def _csv(
    path: Path, keys: Sequence[str], heads: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Numbers with all digits; nothing where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        if not set(keys) <= set(row):
            raise ValueError(f"{path.name}: a row without {sorted(set(keys) - set(row))}")
        writer.writerow([_text(row[key]) for key in keys])
    with whole(path) as stream:
        stream.write(text.getvalue().encode())


def _plain(value: Any) -> Any:
    """A Python number in place of NumPy's."""
    return value.item() if hasattr(value, "item") else value


def _text(value: Any) -> Any:
    value = _plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value
