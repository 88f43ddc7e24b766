#!/usr/bin/env bash
# The tables of the README that tell of the default network, made anew: scores on all mixtures, where it fails, time windows, shifts.
#
#   recipes/open-2mix/tables.sh --mixtures data/wav8k/min --other xdev
#   recipes/open-2mix/tables.sh --mixtures data/wav8k/min --ann EXP/ann/ann.safetensors --snn EXP/medium-8/snn.safetensors
#
#   --mixtures DIR       folder of run.sh's mixtures, its --data DIR/wav8k/min (data/wav8k/min beside this script)
#   --other "NAME ..."   its further conditions, by name
#   --ann MODEL          the analog network (medium-ann)
#   --snn MODEL          the spiking one that was converted from it (medium-snn)
#   --beside "..."       what stands beside them where they fail (small-ann small-snn)
#   --tables "..."       which ("medium where-it-fails windows shifts")
#   --windows "N ..."    further time steps of the spiking network (2 3 7)
#   --shifts "N ..."     (1 2 4)
#   --threads N          of each process (1)
#   --jobs N             processes (all cores)
#   --exp DIR            where results lie (exp/tables beside this script); tables share the scores of what they have in common
#
# The same command goes on where it was stopped. EXP gets TABLE.md for each table, and its pictures: SI-SDRi by
# difference in pitch, TABLE-pitch.png, and by synaptic operations, TABLE-spikes.png.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mixtures=$recipe/data/wav8k/min
other=
ann=medium-ann
snn=medium-snn
beside="small-ann small-snn"
tables="medium where-it-fails windows shifts"
windows="2 3 7"
shifts="1 2 4"
threads=1
jobs=$(nproc)
exp=$recipe/exp/tables

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
[ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
require_number threads jobs
for table in $tables; do
  case $table in
    medium | where-it-fails | windows | shifts) ;;
    *) fail "--tables are medium, where-it-fails, windows and shifts, not $table" ;;
  esac
done

# `table NAME OPTION...` scores what the options say on the mixtures of `conditions`, if that table is wanted.
table() {
  local name=$1 picture
  shift
  [[ " $tables " == *" $name "* ]] || return 0
  log "table $name"
  separator evaluate --mixtures "${conditions[@]}" --model "medium-ann=$ann" "medium-snn=$snn" "$@" --threads "$threads" \
    --jobs "$jobs" --out "$exp/scores"
  sed -E "s/\((pitch|spikes)\.png\)/($name-\1.png)/" "$exp/scores/RESULTS.md" >"$exp/$name.md"
  for picture in pitch spikes; do
    [ ! -f "$exp/scores/$picture.png" ] || mv "$exp/scores/$picture.png" "$exp/$name-$picture.png"
  done
}

# shellcheck disable=SC2086 # lists are words
choose_conditions "$mixtures" open closed $other
activate
mkdir -p "$exp"
table medium
# shellcheck disable=SC2086
table where-it-fails $beside --limit 1000 --speed "$(nproc)"
choose_conditions "$mixtures" open
others=()
for window in $windows; do
  others+=("medium-snn@$window=$snn@$window")
done
table windows ${others[@]+"${others[@]}"} --limit 250 --metrics si-sdr
# shellcheck disable=SC2086
choose_conditions "$mixtures" open $other
# shellcheck disable=SC2086
table shifts "medium-snn@3=$snn@3" --limit 500 --metrics si-sdr --shifts $shifts
log "done; tables are in $exp"
