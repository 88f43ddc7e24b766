#!/usr/bin/env bash
# Install the project, with pinned versions, in a virtual environment.
#
#   bash recipes/utils/install.sh VENV [EXTRAS]
#
# VENV is the folder of the environment, made if absent; EXTRAS are those of pyproject.toml (score, train, test), joined by
# commas. A second call returns at once unless pyproject.toml or constraints.txt has changed. PYTHON chooses the
# interpreter (3.11 or newer).
set -euo pipefail

utils=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$utils/../.." && pwd)

[ "${1:-}" != --help ] || { sed -n '2,${/^#/!q; s/^# \{0,1\}//; p;}' "$0"; exit 0; }
[ $# -ge 1 ] && [ $# -le 2 ] || { echo "usage: install.sh VENV [EXTRAS]" >&2; exit 1; }
venv=$1
extras=${2:-}
stamp=$venv/.installed-${extras:-base}
wanted=$(cat "$project/pyproject.toml" "$utils/constraints.txt" | sha256sum)
[ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || exit 0

new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if ! new_enough "$venv/bin/python"; then
  for python in ${PYTHON:-python3.11 python3 python3.12 python3.13}; do
    new_enough "$python" && break || python=
  done
  [ -n "$python" ] || { echo "install.sh: error: Python 3.11 or newer is needed; set PYTHON to its path" >&2; exit 1; }
  "$python" -m venv --clear "$venv" || { echo "install.sh: error: $python cannot make $venv; is python3-venv installed?" >&2; exit 1; }
fi
echo "installing in $venv (some minutes and about 6 GB the first time)" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  --constraint "$utils/constraints.txt" --editable "$project${extras:+[$extras]}"
printf '%s\n' "$wanted" >"$stamp"
