"""What a database says of a query that fails, in one line of ours: what is wrong, where, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_CHARACTERS = 400
_NAME = r'"?(?P<name>[^"!]+?)"?'
_KIND = re.compile(
    r"^(Binder|Catalog|Parser|Conversion|Invalid Input|Out of Range|Not implemented|Invalid Type|Mismatch Type) Error: "
)
_QUALIFIED = re.compile(r"\w+\.\w+")
_TYPES = {
    "STRING_LITERAL": "a text", "VARCHAR": "a text", "DOUBLE": "a number", "INTEGER_LITERAL": "a whole number",
    "BIGINT": "a whole number", "INTEGER": "a whole number", "INT32": "a whole number", "INT64": "a whole number",
    "BOOLEAN": "true or false",
}  # fmt: skip
_KNOWN: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (rf"Referenced column {_NAME} not found",
     lambda m: f"column {m['name']} is in none of the relations that are read there"),
    (rf'(?:Values list|Table) "(?P<of>[^"]+)" does not have a column named {_NAME}$',
     lambda m: f"{m['of']} has no column {m['name']}; name one that it has"),
    (rf"Referenced table {_NAME} not found", lambda m: f"no relation is called {m['name']} there; name it in FROM or JOIN"),
    (rf'Ambiguous reference to column name {_NAME} \(use: "?(?P<use>[^)]+)\)',
     lambda m: f"column {m['name']} is in several relations; write {' or '.join(_QUALIFIED.findall(m['use']))}"),
    (rf"column {_NAME} must appear in the GROUP BY clause",
     lambda m: f"column {m['name']} is neither grouped nor counted; add GROUP BY {m['name']}, or take min({m['name']})"),
    (r"Cannot compare values of type (?P<a>.+?) and type (?P<b>.+?) -",
     lambda m: f"{_type(m['a'])} is compared with {_type(m['b'])}; compare like with like, or CAST one of them"),
    (r"Could not convert string '(?P<text>.*?)' to (?P<type>\w+)",
     lambda m: f"the text {m['text']!r} is not {_type(m['type'])}; compare it as a text, or use TRY_CAST"),
    (r"More than one row returned by a subquery",
     lambda m: "a subquery that stands for one value gives several rows; write IN (SELECT ...), or take min(...) of them"),
    (r"No function matches the given name and argument types '(?P<call>\w+)\((?P<args>.*?)\)'",
     lambda m: f"{m['call']} can't be taken of {_types(m['args'])}; CAST it, or take another function"),
    (r'Could not choose a best candidate function for the function call "(?P<call>[^(]+)\((?P<args>.*?)\)"',
     lambda m: f"{m['call']} can't be used on {_types(m['args'])}; CAST them to one type"),
)  # fmt: skip


def one_line(text: str) -> str:
    """The message of a database, worded anew, with the names that it suggests; what is not known here keeps its first line.
    Messages of our own pass as they are."""
    lines = [line.strip() for line in text.strip().split("\n")]
    near = next((line.removeprefix("Candidate bindings:") for line in lines[1:3] if line.startswith("Candidate b")), "")
    names = [part.strip().strip('"') for part in near.split(",") if part.strip()]
    said = _worded(lines[0])
    return (said + (f"; did you mean {' or '.join(names[:3])}" if names else ""))[:MAX_CHARACTERS]


def _worded(line: str) -> str:
    kind = _KIND.match(line)
    if kind is None:
        return line
    rest = line[kind.end() :]
    for pattern, words in _KNOWN:
        if found := re.search(pattern, rest):
            return words(found)
    plain = rest.rstrip(".! ")
    return f"the query can't be run: {plain[:1].lower()}{plain[1:]}; correct that part of it"


def _type(name: str) -> str:
    return _TYPES.get(name, f"a {name}")


def _types(names: str) -> str:
    return " and ".join(_type(n.strip()) for n in names.split(",") if n.strip()) or "nothing"
