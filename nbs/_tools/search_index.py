"The index of the search box: every section of every page, with its text"
from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from project import LIBRARY, Notebook

TITLE, SYMBOL, HEADING, RELEASE, ELSEWHERE = range(5)  # Kinds of entries; the last: names of other libraries
HEADINGS = {"h2", "h3", "h4"}
SKIPPED = {"script", "style", "svg", "noscript", "form", "footer"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
OTHER_NAMES = LIBRARY / "assets" / "other_names.json"  # What to use here instead of names of other libraries
LONGEST = 6_000  # Characters of the prose of a section
WORD = re.compile(r"(?<!\w)[A-Za-z_]\w{3,}(?:\.[A-Za-z_]\w*)*")  # In code: names, and words of comments and strings


@dataclass
class Section:
    "A heading, or the documentation of a method, and the text below it"

    kind: int
    heading: str
    anchor: str
    text: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)

    def searched(self) -> str:
        "Return the prose, then the words of the code that are not in it, each once"
        prose = re.sub(r"\s+", " ", "".join(self.text)).strip()
        seen = set(WORD.findall(prose))
        rest = [word for word in dict.fromkeys(WORD.findall(" ".join(self.code))) if word not in seen]
        return f"{prose[:LONGEST]} {' '.join(rest)}".strip()


class Sections(HTMLParser):
    "Split the body of a page into sections"

    def __init__(self, title: str) -> None:
        super().__init__()
        self.found = [Section(TITLE, title, "")]
        self.open: list[tuple[str, bool]] = []  # Tags that are open, and whether their text is left out
        self.heading: str | None = None  # Tag of the heading that is being read
        self.anchors: list[str] = []  # Of methods whose class is shown as source

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        "Begin a section at a heading or a method"
        values = {name: value or "" for name, value in attributes}
        classes = values.get("class", "").split()
        if tag in HEADINGS and values.get("id") and not self.skipping:
            kind = SYMBOL if "symbol" in classes else HEADING
            self.found.append(Section(kind, "", values["id"]))
            self.heading = tag
        elif "method" in classes and values.get("id"):
            self.found.append(Section(SYMBOL, values["id"], values["id"]))
        elif tag == "span" and "." in values.get("id", "") and not self.skipping:
            self.anchors.append(values["id"])
        if tag not in VOID:
            self.open.append((tag, tag in SKIPPED or "output" in classes or "source" in classes))

    def handle_endtag(self, tag: str) -> None:
        "Close a tag, and those within that were left open"
        if tag == self.heading:
            self.heading = None
        for i in reversed(range(len(self.open))):
            if self.open[i][0] == tag:
                del self.open[i:]
                break
        if not self.skipping and tag not in ("span", "code", "a", "em", "strong", "b", "i"):
            self.found[-1].text.append(" ")
            self.found[-1].code.append(" ")

    def handle_data(self, data: str) -> None:
        "Add text to the heading or to the section"
        if self.skipping:
            return
        if self.heading:
            self.found[-1].heading += data
        elif any(tag == "pre" for tag, _ in self.open):
            self.found[-1].code.append(data)
        else:
            self.found[-1].text.append(data)

    @property
    def skipping(self) -> bool:
        "Tell whether the text here is left out: outputs, scripts and links to sources"
        return any(skipped for _, skipped in self.open)


def sections(
    body: str,
    title: str,
    documented: dict[str, tuple[str, str]],  # Name and docstring of functions, classes and methods, by anchor
) -> Iterator[Section]:
    "Yield the sections of a page; the first has the text before the first heading"
    parser = Sections(title)
    parser.feed(body)
    parser.close()
    methods = [Section(SYMBOL, anchor, anchor) for anchor in parser.anchors if anchor in documented]
    for section in parser.found + methods:
        if section.kind == SYMBOL and section.anchor in documented:
            section.heading, docstring = documented[section.anchor]
            if docstring not in "".join(section.text):
                section.text.insert(0, docstring + " ")
        section.heading = re.sub(r"\s+", " ", section.heading).strip()
        yield section


def entries(pages: dict[Notebook, str], documented: dict[str, tuple[str, str]]) -> Iterator[list]:
    "Yield [kind, heading, number of the page, anchor, text], titles and symbols first"
    found = []
    for number, (page, body) in enumerate(pages.items()):
        for section in sections(body, page.title, documented):
            text = section.searched()
            if section.kind == TITLE:
                text = f"{page.description.replace('`', '')} {text}"
            found.append([section.kind, section.heading, number, section.anchor, text])
    yield from sorted(found, key=lambda entry: entry[0])


def release_entries(rows: list, page: int) -> Iterator[list]:
    "Yield an entry for each release of published SAEs, which leads to its rows in the table"
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row.release, row.model
        counts[key] = counts.get(key, 0) + 1
    for (release, model), count in counts.items():
        yield [RELEASE, release, page, f"release={release}", f"{count:,} published SAEs on {model}"]


def other_entries(addresses: list[str], places: dict[str, str]) -> Iterator[list]:
    "Yield an entry for each name or setting of another library, which leads to what to use here"
    if not OTHER_NAMES.exists():
        return
    for kind, names in json.loads(OTHER_NAMES.read_text(encoding="utf-8")).items():
        for name, about in names.items():
            known = [place for use in about["use"] if (place := place_of(use, places))]
            address, _, anchor = (known or ["howto/names.html"])[0].partition("#")
            if address in addresses:
                use = f"here: {', '.join(about['use'])}" if about["use"] else "no counterpart here"
                how = about.get("how", "").replace("`", "")
                what = "setting" if kind == "settings" else "name"
                yield [ELSEWHERE, name, addresses.index(address), anchor,
                       f"{what} of {about['from']}; {use}" + (f"; {how}" if how else "")]


def place_of(name: str, places: dict[str, str]) -> str:
    "Return where a name, or the class of a setting such as `TrainConfig.lr`, is documented; \"\" if nowhere"
    return places.get(name) or places.get(name.partition(".")[0], "")


def index(
    pages: dict[Notebook, str],  # Body of each page
    documented: dict[str, tuple[str, str]],  # Name and docstring of functions, classes and methods, by anchor
    places: dict[str, str],  # Page and anchor of each of them, by name
    rows: list,  # Published SAEs
) -> dict[str, list]:
    "Return the index: titles and addresses of the pages, and the entries"
    addresses = [str(page.page) for page in pages]
    found = [*entries(pages, documented), *other_entries(addresses, places)]
    if "published.html" in addresses:
        found += release_entries(rows, addresses.index("published.html"))
    return {"pages": [[page.title, str(page.page)] for page in pages], "entries": found}


EXAMPLES = {  # Query, and a pattern of the address of the first result; "": nothing is found
    "run_evals": "evals.html#run_evals",
    "encode": "sae.html#sae.encode",
    "topk config": "topk.html#topksaeconfig",
    "coming from saelens": "howto/saelens.html",
    "HookedSAETransformer": "models.html#load_model|howto/",
    "LanguageModelSAERunnerConfig": "config.html#trainconfig|howto/",
    "gpt2-small-res-jb": "published.html#release=gpt2-small-res-jb",
    "zzqqx wvvkk": "",
}
LIMIT = 600_000  # Bytes of search-index.js


def problems(folder: Path) -> Iterator[str]:
    "Find queries whose first result is wrong, if node is installed to run the search, and an index that is too large"
    path = folder / "search-index.js"
    if path.stat().st_size > LIMIT:
        yield f"{path.name}: {path.stat().st_size:,} bytes, at most {LIMIT:,}"
    node = shutil.which("node")
    if not node:
        return
    code = (folder / "search.js").read_text(encoding="utf-8") + path.read_text(encoding="utf-8")
    program = f"""{code}
const entries = unpacked(JSON.parse(require("zlib").gunzipSync(Buffer.from(INDEX, "base64"))));
console.log(JSON.stringify({json.dumps(list(EXAMPLES))}.map((query) => search(entries, query)[0]?.target || "")));"""
    done = subprocess.run([node, "-"], input=program, capture_output=True, text=True, check=True, encoding="utf-8")
    for (query, address), found in zip(EXAMPLES.items(), json.loads(done.stdout)):
        if not re.match(address, found) or bool(found) != bool(address):
            yield f"search.js: {query} finds {found or 'nothing'} first instead of {address or 'nothing'}"
