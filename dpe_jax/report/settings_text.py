"""Settings as a page shows them: arrays fill their lines, where files have a line an element."""

import re
import tomllib

_WIDTH = 96
"""Letters of a line."""

_ITEM = r"[ \t]+[^\s\]#][^\n#]*,\n"
_ARRAY = re.compile(
    rf"(?P<before>^.*)\[\n(?P<items>(?:{_ITEM})+)(?P<indent>[ \t]*)\]", re.MULTILINE
)


def compact(toml: str) -> str:
    """The same tables and values on fewer lines, or the text itself where that is not sure."""
    found, before = toml, ""
    while found != before:
        before, found = found, _ARRAY.sub(_filled, found)
    try:
        same = tomllib.loads(found) == tomllib.loads(toml)
    except tomllib.TOMLDecodeError:
        same = False
    # Of numbers that are none, no two are equal: such a text is left as it is.
    return found if same else toml


def _filled(array: re.Match[str]) -> str:
    items = [line.strip() for line in array["items"].splitlines()]
    line = f"{array['before']}[{' '.join(items).removesuffix(',')}]"
    if len(line) <= _WIDTH:
        return line
    lines = [""]
    for item in items:
        longer = f"{lines[-1]} {item}".strip()
        lines = [*lines[:-1], longer] if len(longer) <= _WIDTH - 4 else [*lines, item]
    inner = "".join(f"{array['indent']}    {line}\n" for line in lines)
    return f"{array['before']}[\n{inner}{array['indent']}]"
