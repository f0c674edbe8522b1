"""What the article claims of privacy, and whether it was measured: a table of the part privacy."""

from dpe_jax.report.content import Claim
from dpe_jax.report.entries import Item, Part
from dpe_jax.report.folders import Folder

PART, TABLE = "privacy", "claims"
_COLUMNS = ("criterion", "claimed", "measured", "by", "agrees")


def claims(folder: Folder, part: Part) -> tuple[Claim, ...]:
    """The claims of that part, or none of any other."""
    found = [table for table in part.tables if table.name == TABLE and part.part == PART]
    return tuple(claim for table in found for claim in _rows(folder, table))


def _rows(folder: Folder, table: Item) -> list[Claim]:
    head, *rows = folder.sheet(table.name, table.files)
    missing = [name for name in _COLUMNS if name not in head]
    if missing:
        raise folder.refused(f"table {table.name} has no column {missing[0]}")
    places = [head.index(name) for name in _COLUMNS]
    told = [[row[place] for place in places] for row in rows]
    return [
        Claim(name, agrees == "true", f"{claimed} claimed, {measured} measured ({by})")
        for name, claimed, measured, by, agrees in told
    ]
