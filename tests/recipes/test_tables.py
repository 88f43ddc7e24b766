"""The tables that tell of the default network: with a stand-in for the command, and once for real."""

import re

import pytest

from separator.cli.main import main
from tests.recipes.running import BLANK, RECIPES, put_in_place, run_script

SCRIPT = RECIPES / "open-2mix" / "tables.sh"
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$NOTES"
while [ $# -gt 1 ]; do
  [ "$1" != --out ] || { mkdir -p "$2" && echo scores >"$2/RESULTS.md"; }
  shift
done
"""


@pytest.fixture
def tables(tmp_path):
    """Runs the script with a stand-in; returns its exit status, error output and the calls that it made."""
    put_in_place(STAND_IN, tmp_path / "bin")
    for name in ("test", "dev", "other-x"):
        (tmp_path / "mixtures" / name).mkdir(parents=True)
        (tmp_path / "mixtures" / name / "mixtures.tsv").touch()

    def run(*options):
        (tmp_path / "notes").write_text("")
        places = ("--mixtures", tmp_path / "mixtures", "--exp", tmp_path / "exp")
        status, error = run_script(SCRIPT, *places, *options, commands=tmp_path / "bin", NOTES=str(tmp_path / "notes"))
        return status, error, (tmp_path / "notes").read_text().splitlines()

    return run


def test_each_table_has_its_conditions_and_networks(tables, tmp_path):
    status, error, calls = tables(
        "--other", "x", "--ann", "A", "--snn", "S", "--beside", "B", "--shifts", "1 3", "--windows", "2"
    )
    assert status == 0, error
    whole, fails, windows, shifts = calls
    sets = {
        name: f"{name}={tmp_path}/mixtures/{folder}" for name, folder in (("open", "test"), ("closed", "dev"), ("x", "other-x"))
    }
    networks = "--model medium-ann=A medium-snn=S"
    assert f"--mixtures {sets['open']} {sets['closed']} {sets['x']} {networks} --threads" in whole and "--limit" not in whole
    assert f"--mixtures {sets['open']} {sets['closed']} {sets['x']} {networks} B --limit" in fails
    assert f"--mixtures {sets['open']} {networks} medium-snn@2=S@2 --limit" in windows
    assert f"--mixtures {sets['open']} {sets['x']} {networks} medium-snn@3=S@3 --limit" in shifts and "--shifts 1 3" in shifts
    assert all(f"--out {tmp_path}/exp/scores" in call for call in calls)
    written = {path.name for path in (tmp_path / "exp").glob("*.md")}
    assert written == {"medium.md", "where-it-fails.md", "windows.md", "shifts.md"}


def test_one_table_alone(tables):
    _, _, calls = tables("--tables", "windows")
    assert len(calls) == 1 and "medium-snn@7=medium-snn@7" in calls[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tables", "speed"), "--tables are medium, where-it-fails, windows and shifts, not speed"),
        (("--other", "y"), "other-y; stage 1 of run.sh makes them"),
        (("--mixtures", "/nowhere"), "there are no mixtures in /nowhere/test; stage 1 of run.sh makes them"),
        (("--threads", "many"), "--threads must be a whole number, not 'many'"),
    ],
)
def test_what_cannot_be_is_one_line(tables, options, message):
    status, error, calls = tables(*options)
    assert status == 1 and message in error and error.count("\n") == 1 and not calls


def test_two_tables_for_real(synthetic_corpus, tmp_path):
    for name in ("test", "dev"):
        place = tmp_path / "mixtures" / name
        main(["mix", "--corpus", str(synthetic_corpus / name), "--list", f"{place}.txt", "--draw", "2", "--out", str(place)])
    networks = ("--ann", "small-ann", "--snn", "small-snn", "--beside", "", "--windows", "2", "--jobs", 1)
    places = ("--mixtures", tmp_path / "mixtures", "--exp", tmp_path / "exp")
    status, error = run_script(SCRIPT, *places, *networks, "--tables", "where-it-fails windows", **{BLANK: "1"})
    assert status == 0, error
    assert "| Closed | medium-snn |" in (tmp_path / "exp" / "where-it-fails.md").read_text()
    assert "| Open | medium-snn@2 |" in (tmp_path / "exp" / "windows.md").read_text()
    for table in ("where-it-fails", "windows"):
        shown = re.findall(r"\(([^()]*\.png)\)", (tmp_path / "exp" / f"{table}.md").read_text())
        assert shown == [f"{table}-pitch.png", f"{table}-spikes.png"]
        assert all((tmp_path / "exp" / picture).stat().st_size > 0 for picture in shown)
