"""Build the documentation and README.md from the notebooks, with pandoc

    python nbs/_tools/build_docs.py                 # writes _docs/, the map, README.md and its images
    python nbs/_tools/build_docs.py --out elsewhere # the documentation only, to another folder

The site needs no server and no network: open `_docs/index.html`. Warnings (broken links, messages of pandoc) are
printed and make the exit status 1.
"""
from __future__ import annotations

import ast
import html
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from string import Template

import pypandoc
from fastcore.script import call_parse

import map_page
import sae_page
import search_index
from addresses import colab_address
from project import NOTEBOOKS, PACKAGE, ROOT, Notebook, modules, notebooks, settings
from render import FOR_README, Rendering, linked
from symbols import Symbol, public_symbols

TEMPLATES = Path(__file__).parent / "site"
OUTPUTS, IMAGES = "outputs", "images"  # Folders of the site: images of outputs, and those of nbs/images
README_IMAGES = NOTEBOOKS / IMAGES / "readme"
INSTALL = "install-and-train"  # Section of the first page
DIALECT = "gfm+attributes+raw_attribute+tex_math_dollars"
NAME = re.compile(r"(?<!\[)`([A-Za-z_][\w.]*)(\(\))?`(?!\]\()")  # `name` or `name()` in prose that is not a link


IN_HTML = re.compile(r"""((?:src|href)=")(?![a-z]+:|[#/])([^"\s]+)""")  # A relative address
IN_MARKDOWN = re.compile(r"""(\]\(|(?:src|href)=")(?![a-z]+:|[#/])([^)"\s]+)""")


def up(page: Notebook) -> str:
    "Return the path from a page to the top of the site"
    return "../" * (len(page.page.parts) - 1)


@dataclass
class Site:
    "The pages of the documentation, and warnings found while building them"

    pages: list[Notebook]
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def symbols(self) -> dict[str, dict[str, Symbol]]:
        "Names that each notebook exports"
        return {str(module.notebook): public_symbols(module) for module in modules()}

    @cached_property
    def places(self) -> dict[str, str]:
        "Page and anchor of each function, class, method and module (`sae_nb.sae`)"
        found = {}
        for page in self.pages:
            if page.module:
                found[f"{PACKAGE}.{page.module}"] = str(page.page)
            for symbol in self.symbols.get(page.name, {}).values():
                for documented in [symbol, *symbol.methods]:
                    found.setdefault(documented.name, f"{page.page}#{documented.anchor}")
        return found

    @property
    def documented(self) -> dict[str, tuple[str, str]]:
        "Name and docstring of each function, class and method, by anchor"
        every = [symbol for symbols in self.symbols.values() for symbol in symbols.values()]
        return {one.anchor: (one.name, ast.get_docstring(one.node) or "")
                for symbol in every for one in [symbol, *symbol.methods]}

    def link(self, line: str, page: Notebook) -> str:
        "Turn names in back-ticks into links, except plain words, unless they are documented on this page"

        def replace(match: re.Match) -> str:
            place = self.places.get(match[1], "")
            is_word = re.fullmatch("[a-z]+", match[1]) and not match[2] and not place.startswith(f"{page.page}#")
            return match[0] if not place or is_word else f"[{match[0]}]({up(page)}{place})"

        return NAME.sub(replace, line)

    def address(self, target: str, page: Notebook) -> str:
        "Translate a relative address: a notebook becomes its page, another file its address on GitHub"
        path, _, anchor = target.partition("#")
        if path.endswith(".html") or path.removeprefix(up(page)).startswith((OUTPUTS, IMAGES)):
            return target
        file = (page.path.parent / path).resolve()
        there = next((up(page) + str(other.page) for other in self.pages if other.path == file), "")
        if there:
            return f"{there}#{anchor.lower()}" if anchor else there
        if not file.exists() or not file.is_relative_to(ROOT):
            self.warnings.append(f"{page.name}: a link to {target}, which does not exist")
            return target
        return f"{settings.git_url}/blob/{settings.branch}/{file.relative_to(ROOT).as_posix()}"

    def body(self, page: Notebook, images: dict[str, bytes]) -> tuple[str, str]:
        "Return the table of contents and the body of a page; add the images of its outputs to `images`"
        rendering = Rendering(
            image_folder=up(page) + OUTPUTS,
            symbols=self.symbols.get(page.name, {}),
            link=lambda line: self.link(line, page),
            images=images,
        )
        contents, body = self.pandoc(rendering.markdown(page), page)
        return contents, IN_HTML.sub(lambda match: match[1] + self.address(match[2], page), body)

    def html(self, page: Notebook, contents: str, body: str) -> str:
        "Return a whole page"
        i = self.pages.index(page)
        return Template((TEMPLATES / "page.html").read_text(encoding="utf-8")).substitute(
            title=html.escape(page.title),
            description=inline(page.description),
            site=html.escape(settings.title),
            root=up(page),
            sidebar=self.sidebar(page),
            contents=contents,
            body=body,
            previous=self.adjacent(page, i - 1, "&larr; {}"),
            next=self.adjacent(page, i + 1, "{} &rarr;"),
            install=f"{up(page)}{Notebook(NOTEBOOKS / settings.readme_nb).page}#{INSTALL}",
            github=f"{settings.git_url}/blob/{settings.branch}/nbs/{page.name}",
            colab=colab_address(page.path),
        )

    def pandoc(self, markdown: str, page: Notebook) -> tuple[str, str]:
        "Convert Markdown; return the table of contents and the body"
        options = ["--from", DIALECT, "--to", "html5", "--mathml", "--toc", "--toc-depth", "3", "--wrap", "preserve"]
        template = ["--template", str(TEMPLATES / "pandoc.html"), "--metadata", f"title={page.title}"]
        command = [pypandoc.get_pandoc_path(), *options, *template]
        done = subprocess.run(command, input=markdown, text=True, capture_output=True, check=True, encoding="utf-8")
        self.warnings += [f"{page.name}: {line}" for line in done.stderr.splitlines()]
        contents, body = done.stdout.split("<!-- body -->")
        return contents, body

    def sidebar(self, here: Notebook) -> str:
        "Return links to all pages, by section"
        parts = []
        for section, pages in groupby(self.pages, key=lambda page: page.section):
            links = (self.sidebar_entry(page, here) for page in pages)
            parts.append((f"<h2>{section}</h2>" if section else "") + f"<ul>{''.join(links)}</ul>")
        return "".join(parts)

    def sidebar_entry(self, page: Notebook, here: Notebook) -> str:
        "Return the link to a page"
        mark = ' aria-current="page"' if page == here else ""
        return f'<li><a href="{up(here)}{page.page}"{mark}>{html.escape(page.title)}</a></li>'

    def adjacent(self, page: Notebook, i: int, label: str) -> str:
        "Return a link to page number `i`, if there is one"
        if not 0 <= i < len(self.pages):
            return "<span></span>"
        other = self.pages[i]
        return f'<a href="{up(page)}{other.page}">{label.format(html.escape(other.title))}</a>'


def inline(text: str) -> str:
    "Convert a description to HTML, with code in back-ticks"
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def dead_links(folder: Path) -> list[str]:
    "Find broken links within the site"
    texts = {path.resolve(): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}
    anchors = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in texts.items()}
    dead = []
    for path, text in texts.items():
        for target in re.findall(r'\b(?:href|src)="(?![a-z]+:)([^"]+)"', text):
            file, _, anchor = html.unescape(target).partition("#")
            there = (path.parent / file).resolve() if file else path
            if not there.exists() or (anchor and there in anchors and anchor not in anchors[there]):
                dead.append(f"{path.relative_to(folder.resolve())}: {target} is a broken link")
    return sorted(set(dead))


def build_site(
    folder: Path,  # Its old content is deleted
) -> list[str]:
    "Write the site to `folder`; return warnings"
    site, images = Site(notebooks()), {}
    rows = sae_page.published()
    with ThreadPoolExecutor(2) as pool:
        bodies = dict(zip(site.pages, pool.map(lambda page: site.body(page, images), site.pages)))
    shutil.rmtree(folder, ignore_errors=True)
    for page, (contents, body) in bodies.items():
        body = sae_page.with_table(body, up(page), len(rows))
        write(folder / page.page, site.html(page, contents, body).encode())
    for name, content in images.items():
        write(folder / OUTPUTS / name, content)
    for path in (NOTEBOOKS / IMAGES).rglob("*.*"):
        write(folder / path.relative_to(NOTEBOOKS), path.read_bytes())
    for name in ("style.css", "search.js"):
        write(folder / name, (TEMPLATES / name).read_bytes())
    index = search_index.index({page: body for page, (_, body) in bodies.items()}, site.documented, site.places, rows)
    write(folder / "search-index.js", f'const INDEX = "{sae_page.packed(index)}";\n'.encode())
    write(folder / sae_page.SCRIPT, sae_page.script(rows))
    write(folder / ".nojekyll", b"")
    return [*site.warnings, *dead_links(folder), *sae_page.problems(folder, rows), *search_index.problems(folder)]


def readme() -> dict[Path, bytes]:
    "Return the content of README.md and of its images by path, from the index notebook"
    page = Notebook(NOTEBOOKS / settings.readme_nb)
    rendering = Rendering(f"{IMAGES}/readme", preferred=FOR_README, boxed=False)
    text = linked(rendering.markdown(page), lambda line: IN_MARKDOWN.sub(from_top, line), everywhere=True)
    workflow = f"{settings.git_url}/actions/workflows/test.yml"
    head = [
        f"# {page.title}",
        f"[![tests]({workflow}/badge.svg)]({workflow}) [Documentation]({settings.doc_host}{settings.doc_baseurl})",
        page.description,
        f"<!-- Made from nbs/{page.name} by nbs/_tools/build_docs.py: edit the notebook -->",
    ]
    files = {ROOT / "README.md": ("\n\n".join([*head, text]) + "\n").encode()}
    return files | {README_IMAGES / name: content for name, content in rendering.images.items()}


def from_top(match: re.Match) -> str:
    "Translate a relative address of the index notebook to the top folder, or to the site, which alone has the table of SAEs"
    path, mark, anchor = match[2].partition("#")
    if Path(path).with_suffix(".html").name == sae_page.PAGE:
        return f"{match[1]}{settings.doc_host}{settings.doc_baseurl}/{sae_page.PAGE}"
    return match[1] + os.path.relpath(NOTEBOOKS / path, ROOT) + mark + anchor


def write(path: Path, content: bytes) -> None:
    "Write a file, and make its folder"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def summary(folder: Path) -> str:
    "Describe what the site has, and how large the files are that a browser loads"
    files = [path for path in folder.rglob("*") if path.is_file()]
    pages = sum(path.suffix == ".html" for path in files)
    images = sum(path.suffix in (".svg", ".png", ".jpg") for path in files)
    sizes = {name: (folder / name).stat().st_size / 1000 for name in (sae_page.SCRIPT, "search-index.js")}
    return (f"{folder}: {pages} pages, {images} images, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB; "
            + ", ".join(f"{name} {size:.0f} kB" for name, size in sizes.items()))


@call_parse
def main(
    out: str = "",  # Write only the site, to this folder
):
    "Build the documentation and README.md"
    if not out:
        map_page.update()
    folder = Path(out) if out else ROOT / settings.doc_path.name
    warnings = build_site(folder)
    print(summary(folder))
    print(f"open {(folder / 'index.html').resolve()}")
    if not out:
        shutil.rmtree(README_IMAGES, ignore_errors=True)
        files = readme()
        for path, content in files.items():
            write(path, content)
        print(f"{ROOT / 'README.md'}: {len(files[ROOT / 'README.md']) / 1000:.0f} kB, {len(files) - 1} images")
    sys.exit("\n".join(warnings) or 0)
