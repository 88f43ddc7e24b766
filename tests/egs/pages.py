"""Pages for readers: their code blocks, commands, links."""

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

PROJECT = Path(__file__).parents[2]
HIDDEN = {".venv", "build", "dist", "out", "exp"}
PAGES = sorted(
    path
    for path in PROJECT.rglob("*.md")
    if not HIDDEN.intersection(path.relative_to(PROJECT).parts) and not path.relative_to(PROJECT).parts[0].startswith(".")
)


def named(path):
    """How tests are named after pages."""
    return str(path.relative_to(PROJECT)) if isinstance(path, Path) else None


def code_blocks(page, language):
    """Texts of the page's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """One command of a page, as written on one line, and its words."""

    line: str
    words: tuple[str, ...]

    @property
    def piped(self):
        return "|" in self.words

    def redirected(self):
        """Words without redirections, and the files that these name."""
        words, streams = list(self.words), {}
        for sign in {"<", ">"}.intersection(words):
            place = words.index(sign)
            streams[sign] = words[place + 1]
            del words[place : place + 2]
        return words, streams


def commands(page):
    """Commands of the page's shell blocks, without comments, variables that a block has set put in their place."""
    found = []
    for block in code_blocks(page, "sh"):
        variables = {}
        for line in block.replace("\\\n", " ").splitlines():
            if assignment := re.fullmatch(r'(\w+)="([^"]*)"', line.strip()):
                variables[assignment[1]] = assignment[2]
                continue
            for name, value in variables.items():
                line = line.replace(f"${name} ", f"{value} ")
            if words := shlex.split(line, comments=True):
                found.append(Command(line, tuple(words)))
    return found


def options_of(words):
    """Options of a command with their values, as in `--name value`."""
    return {word.removeprefix("--"): value for word, value in pairwise(words) if word.startswith("--")}


def links(page):
    """Targets of links and pictures that are no web addresses."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in target]


def anchors(page):
    """What `#...` may follow the page's name: its headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
