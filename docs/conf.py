"""How Sphinx makes the site of docs/ (`make docs`). Needs no network.

Three things are ours: a page that only points to a document outside of docs/ becomes that document;
compiled objects show the signatures of their stubs; docstrings lose what only the code needs.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from os.path import relpath
from pathlib import Path
from typing import Any

import hotrod_codec

DOCS = Path(__file__).parent
ROOT = DOCS.parent

project = "hotrod-codec"
version = release = hotrod_codec.__version__
copyright = "the authors of hotrod-codec"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 4
smartquotes = False
default_role = "code"  # docstrings are written for people first: `name`

autodoc_default_options = {"members": True, "show-inheritance": True, "undoc-members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_display_short_literal_types = True
python_maximum_signature_line_length = 88

nitpicky = True
suppress_warnings = ["ref.python"]  # the builtin `type` beside attributes of that name
# The standard library, numpy and type variables: where they are documented, no build without a
# network can look.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!hotrod_codec).*"),
    (r"py:.*", r"hotrod_codec\..*\.([A-Z]\d?|T_co|_\w+)"),
    (r"py:class", r"hotrod_codec\.client\.config\.Settings"),  # a table: configuration.md
]

# ---- documents outside of docs/ ------------------------------------------------------------------

POINTER = re.compile(r"# [^\n]+\n\n[^\n]*\[[^\]]+\]\((\.\./[^)]+\.md)\)[^\n]*\n")
"""A page that is nothing but a title and a line with a link, for who reads it on the forge."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s:]+)(#[^)]*)?\)")
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.M | re.S)


def home_of(page: Path) -> Path:
    """The file whose text a page shows: its own, or the one that it points to."""
    pointer = POINTER.fullmatch(page.read_text("utf-8"))
    return (page.parent / pointer[1]).resolve() if pointer else page


@cache
def pages_by_home() -> dict[Path, Path]:
    return {home_of(page): page for page in DOCS.rglob("*.md")}


def with_site_links(text: str, home: Path, page: Path) -> str:
    """`text`, which stands in `home`, with its links as they have to be in `page`. Programs beside
    it follow below. What else the site does not have loses its link: there is no address that is
    right for every copy."""
    pages = pages_by_home()
    programs: dict[str, None] = {}

    def moved(match: re.Match[str]) -> str:
        target = (home.parent / match[3]).resolve()
        found = pages.get(target, target)
        if target.suffix == ".py" and target.parent == home.parent:
            programs[target.name] = None
            return f"[{match[2]}](#{target.name.replace('.', '')})"
        if not found.is_relative_to(DOCS):
            return match[2]
        return f"{match[1]}[{match[2]}]({relpath(found, page.parent)}{match[4] or ''})"

    parts = CODE.split(text)
    parts[::2] = [LINK.sub(moved, part) for part in parts[::2]]
    for name in programs:
        path = relpath(home.parent / name, page.parent)
        parts.append(f"\n## {name}\n\n```{{literalinclude}} {path}\n:language: python\n```\n")
    return "".join(parts)


def read_source(app: Any, name: str, source: list[str]) -> None:
    page = DOCS / f"{name}.md"
    if page.exists():
        home = home_of(page)
        app.env.note_dependency(str(home))
        source[0] = with_site_links(home.read_text("utf-8"), home, page)


# ---- compiled objects ----------------------------------------------------------------------------


class _Stubs:
    """What the stubs say: signatures by name, with the names of types in full."""

    def __init__(self) -> None:
        self.signatures: dict[str, tuple[str, str]] = {}
        for path in sorted((ROOT / "src/hotrod_codec/_ext").glob("*.pyi")):
            tree = ast.parse(path.read_text("utf-8"))
            homes = self._homes(tree, f"hotrod_codec._ext.{path.stem}")
            self._take(tree, "", homes)

    def _homes(self, tree: ast.Module, module: str) -> dict[str, str]:
        homes: dict[str, str] = {}
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                if node.module.startswith("hotrod_codec"):
                    homes |= {name.name: f"{node.module}.{name.name}" for name in node.names}
            elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name] = f"{module}.{node.name}"
        return homes

    def _take(self, node: ast.Module | ast.ClassDef, prefix: str, homes: dict[str, str]) -> None:
        for item in node.body:
            if isinstance(item, ast.ClassDef):
                self._take(item, item.name, homes)
            elif isinstance(item, ast.FunctionDef):
                making = item.name in ("__init__", "__new__")
                name = prefix if making else f"{prefix}.{item.name}".lstrip(".")
                if not (making and item.args.vararg):  # those that decoding alone makes
                    self.signatures.setdefault(name, self._signature(item, homes, bool(prefix)))

    def _signature(
        self, node: ast.FunctionDef, homes: dict[str, str], method: bool
    ) -> tuple[str, str]:
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id in homes:
                part.id = homes[part.id]
        arguments = node.args
        first = arguments.posonlyargs or arguments.args
        if method:
            del first[0]
        returns = "" if node.name in ("__init__", "__new__") else ast.unparse(node.returns or node)
        return f"({ast.unparse(arguments)})", returns


def plain(name: str) -> str:
    return name.removeprefix("hotrod_codec.").rpartition("._ext.")[2]


def show_signature(
    app: Any, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str, str] | None:
    if signature is None:
        return None
    if "dispatcher:" in signature or (what == "class" and "Made by" in (thing.__doc__ or "")):
        return "", ""
    found: tuple[str, str] | None = app.hotrod_stubs.signatures.get(plain(name))
    return found


def show_type(app: Any, domain: str, kind: str, content: Any) -> None:
    """Properties of compiled objects: their type behind the name."""
    heading = content.parent[0]
    name = plain(f"{heading.get('module') or ''}.{heading.get('fullname')}")
    if kind in ("property", "attribute") and name in app.hotrod_stubs.signatures:
        text = import_module("docutils.nodes").Text  # type checkers do without Sphinx
        heading += text(f": {app.hotrod_stubs.signatures[name][1]}")


def before_napoleon(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    text = re.sub(r"\s?\[wire-[a-z]+ [\d., ]+\]", "", "\n".join(lines))
    # An indented block is code.
    text = re.sub(r"^( *)(\S.*):\n\n(?=\1    )", r"\1\2::\n\n", text, flags=re.M)
    text = re.sub(r"^(\S.*[^:\n])\n\n(?=    )", r"\1\n\n::\n\n", text, flags=re.M)
    text = re.sub(r"^Returns:\n    ", ":returns: ", text, flags=re.M)
    text = re.sub(r"^Attributes:\n((?: +[^\n]*\n?)+)", attributes_as_list, text, flags=re.M)
    lines[:] = text.split("\n")


def leave_object_out(app: Any, doctree: Any) -> None:
    for line in list(doctree.findall(import_module("docutils.nodes").paragraph)):
        if line.astext() == "Bases: object":
            line.parent.remove(line)


def public_bases(app: Any, name: str, thing: Any, options: Any, bases: list[Any]) -> None:
    """What a class shares with others is nobody's business but that of the code."""
    classes = [getattr(base, "__origin__", base) for base in bases]
    bases[:] = [
        base
        for base, cls in zip(bases, classes, strict=True)
        if cls is not object and "._" not in f"{cls.__module__}.{cls.__name__}"
    ] or [object]


def after_napoleon(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Napoleon takes what stands before a colon for the type of an attribute."""
    if what in ("attribute", "data", "property") and lines and lines[-1].startswith(":type: "):
        lines[0] = f"{lines.pop().removeprefix(':type: ')}: {lines[0]}"


def attributes_as_list(section: re.Match[str]) -> str:
    """Sphinx would make a link of each name, to the first thing anywhere that is called so."""
    names = re.sub(r"^    (\w[\w, ]*): ", r"* ``\1``: ", section[1], flags=re.M)
    return re.sub(r"^ {8}", "  ", names, flags=re.M)


def setup(app: Any) -> None:
    app.hotrod_stubs = _Stubs()
    app.connect("source-read", read_source)
    app.connect("doctree-read", leave_object_out)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("autodoc-process-signature", show_signature)
    app.connect("object-description-transform", show_type)
    app.connect("autodoc-process-docstring", before_napoleon, priority=100)
    app.connect("autodoc-process-docstring", after_napoleon, priority=900)
