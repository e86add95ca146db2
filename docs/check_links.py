"""Check a built site: every link leads somewhere, nothing is fetched from elsewhere, search needs no server."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Links, anchors, and what the browser fetches of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect of one tag."""
        values = {key: value or "" for key, value in attrs}
        self.anchors.update(values[key] for key in ("id", "name") if key in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if "src" in values:
            self.fetched.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.fetched.append(values.get("href", ""))


def _lacks(page: _Page | None, anchor: str) -> bool:
    return page is not None and anchor not in page.anchors


def broken_links(site: Path) -> list[str]:
    """What is wrong, a line each, with the page it is on."""
    pages: dict[Path, _Page] = {}
    for path in sorted(site.rglob("*.html")):
        pages[path.resolve()] = page = _Page()
        page.feed(path.read_text())
    faults = []
    for path, page in pages.items():
        where = path.relative_to(site.resolve())
        for target in page.links + page.fetched:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.fetched and parts.scheme != "data":
                    faults.append(f"{where}: fetches {target} from elsewhere")
                continue
            base = site.resolve() if parts.path.startswith("/") else path.parent
            file = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            file = file / "index.html" if file.is_dir() else file
            if where.name == "404.html":
                continue
            if not file.exists():
                faults.append(f"{where}: {target} leads nowhere")
            elif parts.fragment not in ("", "__top") and _lacks(pages.get(file), unquote(parts.fragment)):
                faults.append(f"{where}: {target} has no such anchor")
    return faults


def lost_search(site: Path) -> list[str]:
    """What a site opened as files lacks for its search: the index as a script, and a stand-in for workers."""
    faults = []
    if not (site / "search" / "search_index.js").exists():
        faults.append("search/search_index.js: missing, without which search needs a server")
    for path in sorted(site.rglob("*.html")):
        page = _Page()
        page.feed(path.read_text())
        if not any(target.endswith("iframe-worker.js") for target in page.fetched):
            faults.append(
                f"{path.relative_to(site)}: lacks iframe-worker.js, without which search needs a server"
            )
    return faults


if __name__ == "__main__":
    found = broken_links(Path(sys.argv[1])) + lost_search(Path(sys.argv[1]))
    sys.stderr.writelines(f"{line}\n" for line in found)
    sys.exit(1 if found else 0)
