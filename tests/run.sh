#!/usr/bin/env bash
# Set up the project's .venv and run all checks: style, types, tests.
#
#   bash tests/run.sh [ARGUMENT...]    # of pytest, such as -k NAME
set -euo pipefail

case " $* " in *' --help '* | *' -h '*) sed -n '2,${/^#/!q; s/^# \{0,1\}//; p;}' "$0"; exit 0 ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash recipes/utils/install.sh .venv test
PATH=$PWD/.venv/bin:$PATH
ruff check .
ruff format --check .
mypy
unset PYTHONDONTWRITEBYTECODE # each process would compile all tests anew, which takes longer than most of them
# Files side by side, on two cores or a few more: each process loads torch.
pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
