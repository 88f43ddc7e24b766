#!/usr/bin/env bash
# The autoencoder of digits (Wu et al. 2021, sections 6.1 and 6.3.1): trained, then converted for several time windows.
#
#   recipes/mnist-autoencoder/run.sh --mnist DIR
#
#   --mnist DIR              folder with the four idx files of MNIST, compressed or not
#   --stage N --stop-stage N first and last stage to run:
#                              1 as published (Table 3), 2 with what this project adds
#   --seeds N                networks trained, each converted for each window (5)
#   --options "..."          more options for `separator sweep-images`, such as "--device cuda"
#   --exp DIR                where results lie (exp beside this script)
#
# Each stage goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mnist=
stage=1
stop_stage=2
seeds=5
options=
exp=$recipe/exp

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
[ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
[ -n "$mnist" ] || fail "give --mnist, the folder with the four files of MNIST"
require_number stage stop_stage seeds
activate

# `sweep CONFIG NAME` converts for all windows and prints the table.
sweep() {
  # shellcheck disable=SC2086 # options are several words
  separator sweep-images --config "$recipe/conf/$1" --data.folder "$mnist" --seeds "$seeds" $options --out "$exp/$2"
}

if runs 1 "as published"; then
  sweep windows.yaml published
fi

if runs 2 "half a threshold of start potential, thresholds that learn"; then
  # The same analog networks, trained once.
  for ann in "$exp"/published/seed-*/ann; do
    [ -e "$ann" ] || continue
    copy=$exp/tuned/$(basename "$(dirname "$ann")")
    mkdir -p "$copy"
    [ -e "$copy/ann" ] || cp -r "$ann" "$copy/ann"
  done
  sweep windows-tuned.yaml tuned
fi
