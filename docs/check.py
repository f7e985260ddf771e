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

_LOADING = {"audio", "iframe", "img", "script", "source", "video"}
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
        if tag in _LOADING and "src" in given:
            self.loads.append(given["src"])


def problems(site: Path) -> Iterator[str]:
    """Yield what is wrong with a site, a line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site}: there is no page"
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        where = path.relative_to(site)
        for link in page.links:
            if why := _wrong(link, path, site, pages):
                yield f"{where}: link {link!r}: {why}"
        yield from (f"{where}: loads {link!r} from elsewhere" for link in page.loads if _is_elsewhere(link))
        yield from (f"{where}: class {name!r} makes a script load code" for name in page.classes & _NEEDS_A_CDN)
    for path in sorted(site.rglob("*.css")):
        for link in re.findall(r"(?:@import\s+|url\()[\"']?([^\"')]+)", path.read_text(encoding="utf-8")):
            if _is_elsewhere(link):
                yield f"{path.relative_to(site)}: loads {link!r} from elsewhere"


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
