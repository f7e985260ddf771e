"""Whether the built site holds together: `python docs/check.py site`.

Every link leads to a page and an anchor that exist; every address elsewhere is well formed; nothing is loaded
from another server when a page is read. Nothing is fetched.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADING = {"audio", "embed", "iframe", "img", "object", "script", "source", "track", "video"}
_CSS_LOADS = re.compile(r"""url\(\s*["']?([^"')\s]+)|@import\s*["']([^"']+)""", re.IGNORECASE)
_LOADED_RELATIONS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
_NEEDS_A_CDN = {"mermaid", "glightbox", "pyodide", "asciinema-player"}
"""Classes for which the theme's script would load code from elsewhere."""
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?", re.IGNORECASE)
_NEAR = ("localhost", "127.0.0.1")


class Page(HTMLParser):
    """The anchors of a page, what it links to and what it loads."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.classes: set[str] = set()
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says."""
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if given.get(name))
        self.classes.update(given.get("class", "").split())
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and set(given.get("rel", "").split()) & _LOADED_RELATIONS:
            self.loads.append(given.get("href", ""))
        if tag in _LOADING:
            self.loads += [given[name] for name in ("src", "data", "poster") if name in given]
            self.loads += [one.split()[0] for one in given.get("srcset", "").split(",") if one.strip()]
        self.loads += loaded_by_css(given.get("style", ""))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        """Leave a style sheet."""
        self._in_style = self._in_style and tag != "style"

    def handle_data(self, data: str) -> None:
        """Note what a style sheet within the page loads."""
        if self._in_style:
            self.loads += loaded_by_css(data)


def loaded_by_css(text: str) -> list[str]:
    """Return the addresses that a style sheet loads."""
    return [found[1] or found[2] for found in _CSS_LOADS.finditer(text)]


def problems(site: Path) -> Iterator[str]:
    """Yield what is wrong with a site, a line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site}: there is no page"
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        where = path.relative_to(site)
        yield from (f"{where}: {what}" for what in _wrong_links(page, path, site, pages))
        yield from (f"{where}: class {name!r} makes a script load code" for name in page.classes & _NEEDS_A_CDN)
    for path in sorted(site.rglob("*.css")):
        for link in loaded_by_css(path.read_text(encoding="utf-8")):
            if _is_elsewhere(link):
                yield f"{path.relative_to(site)}: loads {link!r} from elsewhere"


def _wrong_links(page: Page, path: Path, site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    for link in page.links:
        if why := _wrong(link, path, site, pages):
            yield f"link {link!r}: {why}"
    for link in page.loads:
        if _is_elsewhere(link):
            yield f"loads {link!r} from elsewhere"
        elif not link.startswith(("data:", "#")) and (why := _wrong(link, path, site, pages)):
            yield f"loads {link!r}: {why}"


def _is_elsewhere(link: str) -> bool:
    return link.startswith(("http:", "https:", "//"))


def _wrong(link: str, path: Path, site: Path, pages: dict[Path, Page]) -> str:
    """Return what is wrong with a link on a page; empty if nothing is."""
    if _is_elsewhere(link):
        return _malformed(link)
    parts = urlsplit(link)
    if parts.scheme:
        return f"scheme {parts.scheme!r} is not wanted"
    target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site):
        return "leaves the site"
    if not target.is_file():
        return "there is no such page"
    anchor = unquote(parts.fragment)
    known = not anchor or target not in pages or anchor in pages[target].anchors
    return "" if known else "there is no such anchor"


def _malformed(link: str) -> str:
    parts = urlsplit(link)
    if parts.hostname in _NEAR:
        return ""
    if parts.scheme != "https":
        return "https is wanted"
    return "" if _HOST.fullmatch(parts.netloc) else "this is no host"


def main() -> int:
    """Print what is wrong; return the exit code."""
    site = Path(sys.argv[1] if sys.argv[1:] else "site").resolve()
    found = list(problems(site))
    for line in found:
        sys.stderr.write(f"{line}\n")
    sys.stdout.write(f"{len(list(site.rglob('*.html')))} pages, {len(found)} problems\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
