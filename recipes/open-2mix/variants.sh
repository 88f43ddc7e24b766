#!/usr/bin/env bash
# Variants of one training side by side, each for the same hours of mixtures: what every augmentation does, or which network
# learns most.
#
#   recipes/open-2mix/variants.sh --corpus DIR --more "DIR DIR" --rooms FILE --noise DIR --other xdev=DIR \
#       --list conf/ablations.txt --init medium-ann --hours 10
#   recipes/open-2mix/variants.sh --corpus DIR --list conf/networks.txt --hours 30
#
#   --list FILE          a variant a line: its name, then options of `separator train` that make it; # begins a comment. Paths
#                        of --list and --config that are not found are looked for beside this script
#   --config FILE        of the training that all of them vary (conf/medium.yaml)
#   --init MODEL         that all of them start from; new networks if not given
#   --hours H            of mixtures for each, over which the learning rate falls to zero (10)
#   --only "NAME ..."    these variants alone
#   --corpus DIR         folder with train, dev and test
#   --more "DIR ..."     more Kaldi data folders to train on
#   --rooms FILE --noise DIR
#   --mixtures DIR       folder of run.sh's mixtures, its --data DIR/wav8k/min (data/wav8k/min beside this script); made by its
#                        stage 1 with the same --other
#   --other "NAME ..."   its further conditions, by name
#   --limit N            mixtures of each condition that are scored (200)
#   --train-options "..."  more options for all of them
#   --exp DIR            where results lie (exp/variants beside this script): a folder for each variant, and results/
#   --jobs N             processes that score (all cores)
#
# The same command goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=
config=conf/medium.yaml
init=
hours=10
only=
corpus=
more=
rooms=
noise=
mixtures=$recipe/data/wav8k/min
other=
limit=200
train_options=
exp=$recipe/exp/variants
jobs=$(nproc)

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
[ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
require_number limit jobs
[[ $hours =~ ^[0-9]+(\.[0-9]+)?$ ]] && [[ ! $hours =~ ^0*(\.0*)?$ ]] || fail "--hours is a number above 0, not '$hours'"

[ -n "$list" ] || fail "give --list, a file of variants such as conf/ablations.txt"
list=$(found "$list")
config=$(found "$config")
[ -f "$list" ] || fail "there is no list of variants $list"
for set in train dev; do
  [ -f "$corpus/$set/wav.scp" ] || fail "$corpus/$set is not a Kaldi data folder; give --corpus"
done
choose_training_data "$corpus/train" "$more" "$rooms" "$noise"
# shellcheck disable=SC2086 # names are words
choose_conditions "$mixtures" open $other
activate

data=(--data.train "$train" --data.dev "$corpus/dev" ${data_options[@]+"${data_options[@]}"})
common=(--config "$config" "${data[@]}" ${init:+--init "$init"})
names=()
variants=()
models=()
while read -r name options || [ -n "$name" ]; do
  [ -n "$name" ] || continue
  [ -z "$only" ] || [[ " $only " == *" $name "* ]] || continue
  names+=("$name")
  variants+=("$train_options $options --optimiser.finish $hours")
  models+=("$name=$exp/$name/ann.safetensors")
done < <(sed 's/#.*//' "$list")
[ ${#names[@]} -gt 0 ] || fail "$list has no variant${only:+ named $only}"
for i in "${!names[@]}"; do
  known=$exp/${names[i]}/done # what it was learned by; empty where an earlier version left it
  if [ -s "$known" ] && [ "$(<"$known")" != "${common[*]} ${variants[i]}" ]; then
    fail "$exp/${names[i]} was learned by other options; give those, or another --exp"
  fi
done
for i in "${!names[@]}"; do
  out=$exp/${names[i]}
  [ ! -f "$out/done" ] || continue
  log "variant ${names[i]}: ${variants[i]}"
  # shellcheck disable=SC2086 # options are words
  separator train "${common[@]}" --out "$out" --optimiser.schedule anytime ${variants[i]}
  echo "${common[*]} ${variants[i]}" >"$out/done"
done

separator evaluate --mixtures "${conditions[@]}" --model "${models[@]}" --metrics si-sdr --limit "$limit" --jobs "$jobs" \
  --out "$exp/results"
log "done; results are in $exp/results"
