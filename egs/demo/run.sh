#!/usr/bin/env bash
# Separate the demo's two mixtures with the shipped spiking network and with the analog one it came from.
#
#   bash egs/demo/run.sh [--out DIR] [--models MODEL...]
#
# Needs Python 3.11 or newer; everything else is installed in .venv at the first run. Prints the scores of each model against
# the references, how long separating took, and where the sound files and the pictures are (egs/demo/out).
set -euo pipefail

case " $* " in *' --help '* | *' -h '*) sed -n '2,${/^#/!q; s/^# \{0,1\}//; p;}' "$0"; exit 0 ;; esac
demo=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$demo/../.." && pwd)
bash "$project/recipes/utils/install.sh" "$project/.venv" score
exec "$project/.venv/bin/python" "$demo/demo.py" "$@"
