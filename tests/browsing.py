"""A headless Chromium, and what it finds wrong with a page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

_NAMES = ("chromium", "chromium-browser", "google-chrome")

Scheme = Literal["light", "dark"]

# Whatever reaches beyond the page, and is in no box of its own that can be scrolled.
_OVERFLOW = """() => {
  const root = document.documentElement, width = root.clientWidth, found = [];
  if (root.scrollWidth > width) found.push(`the page is ${root.scrollWidth} wide in ${width}`);
  const boxed = element => {
    for (let box = element.parentElement; box && box !== document.body; box = box.parentElement)
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(box).overflowX)) return true;
    return false;
  };
  for (const element of document.body.querySelectorAll('*')) {
    const box = element.getBoundingClientRect();
    if (box.width && box.right > width + 0.5 && !boxed(element))
      found.push(`${element.tagName} ${element.className} reaches to ${box.right} of ${width}`);
  }
  return found;
}"""

# Text on its ground, by the WCAG: 4.5, or 3 for large text.
_CONTRAST = """() => {
  const parse = text => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, below) => {
    const mixed = top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
    return [...mixed, 1];
  };
  const ground = element => {
    const layers = [];
    for (let box = element; box; box = box.parentElement) {
      const colour = parse(getComputedStyle(box).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = colour => {
    const [r, g, b] = colour.slice(0, 3).map(c => {
      c /= 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  let texts = 0;
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true}))
      continue;
    texts += 1;
    const style = getComputedStyle(element), below = ground(element);
    const both = [light(over(parse(style.color), below)), light(below)];
    const [high, low] = both.sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05), pixels = parseFloat(style.fontSize);
    const large = pixels >= 24 || (pixels >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5))
      found.push(`contrast ${ratio.toFixed(2)}: ${element.tagName} ${element.className}`);
  }
  return texts ? found : ['there is no text'];
}"""

_PICTURES = """() => [...document.images]
  .filter(image => !(image.complete && image.naturalWidth > 0 && image.alt.trim()))
  .map(image => `picture not shown: ${image.alt}`)"""

_HEADINGS = """() => {
  const found = [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]
    .filter(heading => heading.checkVisibility() && heading.textContent.trim());
  const levels = found.map(heading => Number(heading.tagName[1]));
  const faults = [];
  if (levels[0] !== 1 || levels.filter(level => level === 1).length !== 1)
    faults.push('there is not one first heading');
  levels.forEach((level, i) => {
    if (i && level > levels[i - 1] + 1) faults.push(`a heading skips a level: ${level}`);
  });
  if (!document.documentElement.lang) faults.push('the language is not said');
  return faults;
}"""


def driver() -> Path:
    """The browser; without one a test is skipped, but fails where CI is set."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        told = f"no browser: none of {', '.join(_NAMES)} is installed"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return Path(path)


@contextmanager
def chromium() -> "Iterator[Browser]":
    """One that is started, without a sandbox where only its owner could have one."""
    from playwright.sync_api import sync_playwright

    path = driver()
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if root else []
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


class Visit:
    """A page that is open at some width, and what it has complained of since."""

    def __init__(self, browser: "Browser", path: Path, width: int, scheme: Scheme) -> None:
        phone = width < 600
        self._context = browser.new_context(
            viewport={"width": width, "height": 812},
            color_scheme=scheme,
            is_mobile=phone,
            has_touch=phone,
        )
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page = self.page = self._context.new_page()
        page.on("console", lambda said: self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda asked: self.complaints.append(_failed(asked)))
        page.on("request", lambda asked: self.requests.append(asked.url))
        page.goto(path.resolve().as_uri())

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def faults(self) -> list[str]:
        """All that is wrong."""
        found = list(self.complaints)
        found += [
            f"asked for {url[:80]}"
            for url in self.requests
            if not url.startswith("data:") and url != self.page.url.partition("#")[0]
        ]
        for program in (_OVERFLOW, _CONTRAST, _PICTURES, _HEADINGS):
            found += self.page.evaluate(program)
        return found

    def evaluate(self, program: str) -> Any:
        return self.page.evaluate(program)


def _failed(asked: "Request") -> str:
    return f"failed: {asked.url[:80]}: {asked.failure}"


def printed(page: "Page") -> bytes:
    """As PDF on A4."""
    return page.pdf(format="A4", prefer_css_page_size=True)
