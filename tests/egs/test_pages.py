"""Pages for readers: links, length, and the files that a stranger looks for."""

import re
import tomllib

import pytest
import yaml

from tests.egs.pages import PAGES, PROJECT, anchors, links, named


@pytest.mark.parametrize("page", [page for page in PAGES if links(page)], ids=named)
def test_every_link_leads_somewhere(page):
    wrong = []
    for target in links(page):
        place, _, anchor = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            wrong.append(target)
    assert wrong == []


def test_the_readme_has_its_picture_and_at_most_900_words():
    readme = PROJECT / "README.md"
    assert len(readme.read_text(encoding="utf-8").split()) <= 900
    assert [target for target in links(readme) if target.endswith(".png")] == ["egs/demo/spikes.png"]


@pytest.mark.parametrize("page", sorted(PROJECT.glob("recipes/*/README.md")), ids=named)
def test_recipes_are_described_in_one_layout(page):
    wanted = ["Data", "Commands", "Results", "What differs from the paper", "Files"]
    headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [heading for heading in headings if heading in wanted] == wanted
    listed = page.read_text(encoding="utf-8").partition("## Files")[2]
    mentioned = {name for cell in re.findall(r"`([^`]+)`", listed) for name in [cell.removeprefix("conf/")]}
    patterns = [re.compile(re.escape(name).replace(r"\*", ".*")) for name in mentioned]
    missing = [path.name for path in page.parent.glob("conf/*") if not any(p.fullmatch(path.name) for p in patterns)]
    assert missing == []


def test_hooks_run_the_pinned_tools_of_the_environment():
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    pinned = (PROJECT / "recipes" / "utils" / "constraints.txt").read_text()
    checks = (PROJECT / "tests" / "run.sh").read_text()
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert tools == {"ruff", "mypy"}
    assert all(f"\n{tool}==" in pinned and f"\n{tool}" in checks for tool in tools)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    version = re.search(r'"(.+)"', (PROJECT / "separator" / "version.py").read_text().splitlines()[-1])[1]
    assert (citation["version"], citation["license"]) == (version, "MIT")
    assert f"## {version}" in (PROJECT / "CHANGELOG.md").read_text()


def test_the_package_is_typed_where_it_is_installed():
    data = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["separator"]
    assert [pattern for pattern in data if not list((PROJECT / "separator").glob(pattern))] == []
    assert "py.typed" in data
