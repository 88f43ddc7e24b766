"""What options are for, from the comments beside the fields of settings: it is written once, where the settings are."""

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
from contextlib import suppress
from typing import Any, get_type_hints

FOR_TOOLS = ("type:", "noqa", "fmt:")  # what comments begin with that say nothing to people


def explanations(kind: type[Any], prefix: str) -> dict[str, str]:
    """What each setting of a dataclass is for, by `PREFIX.NAME`, those of dataclasses in it by `PREFIX.NAME.NAME`.

    Settings without a comment are left out, and all where there is no source to read.
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        with suppress(OSError, TypeError):
            if dataclasses.is_dataclass(base):
                found |= {f"{prefix}.{name}": text for name, text in _comments_in(inspect.getsource(base)).items()}
    kinds = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(inner := kinds[field.name]) and isinstance(inner, type):
            found |= explanations(inner, f"{prefix}.{field.name}")
    return found


def _comments_in(source: str) -> dict[str, str]:
    """Comments of the fields of a class, by name: on the lines before a field, and behind it."""
    source = textwrap.dedent(source)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    texts = {line: token.string.lstrip("#").strip() for line, token in comments.items()}
    texts = {line: text for line, text in texts.items() if not text.startswith(FOR_TOOLS)}
    alone = {line for line in texts if not comments[line].line[: comments[line].start[1]].strip()}
    found: dict[str, str] = {}
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = node.lineno
            while first - 1 in alone:
                first -= 1
            lines = range(first, (node.end_lineno or node.lineno) + 1)
            if text := " ".join(texts[line] for line in lines if line in texts):
                found[node.target.id] = text
    return found
