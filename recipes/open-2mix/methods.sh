#!/usr/bin/env bash
# All methods of conversion on speech: the separator with LeakyReLU and its twin with ReLU, trained alike; the one converted by
# TerMapping and AugMapping (Yu et al. 2020), without tuning and with it, the other by progressive tandem learning (Wu et al. 2021)
# and by threshold balancing, then spike-timing-dependent backpropagation (Rathi et al. 2020); one table.
#
#   recipes/open-2mix/methods.sh --corpus DIR
#
#   --corpus DIR             folder with train, dev and test, as of run.sh, which does stages 1 to 3
#   --slope S                of LeakyReLU below zero (0.2); neurons are exact where 1 / S is whole
#   --stage N --stop-stage N first and last stage to run: 1 mixtures, 2 train the twins, 3 convert them, 4 score
#   --config FILE            of the training of both (conf/small.yaml)
#   --leaky-configs "..."    of the conversions of the one with LeakyReLU; paths that are not found are looked for beside this
#                            script (conf/termapping.yaml conf/augmapping.yaml conf/termapping-8.yaml conf/augmapping-4.yaml
#                            conf/path-independent-4.yaml conf/augmapping-2.yaml conf/augmapping-2-ptl.yaml)
#   --also "NAME@STEPS ..."  of these, what is scored with another number of steps as well (augmapping-4@8)
#   --relu-configs "..."     of those of its twin (conf/relu-4.yaml conf/relu-4-ptl.yaml conf/balanced-8.yaml conf/balanced-32.yaml);
#                            a NAME.tune.yaml beside a NAME.yaml tunes all of its layers together afterwards
#   --tuning-mixtures N      that each layer is tuned on, 2 s each (200)
#   --train-options "..."    more options for `separator train`
#   --convert-options "..."  more options for `separator convert`
#   --tune-options "..."     more options for `separator train` where it tunes a conversion
#   --test-mixtures N        (3000)
#   --dev-mixtures N         (2000)
#   --limit N                open mixtures that are scored (200)
#   --more "DIR ..."         more Kaldi data folders to train on
#   --rooms FILE --noise DIR room impulse responses and noises for the training
#   --data DIR               where prepared data lie (data beside this script)
#   --exp DIR                where results lie (exp/leaky beside this script)
#   --jobs N                 processes (all cores)
#
# The same command goes on where it was stopped. EXP gets a folder for each twin, and results/ with RESULTS.md, spikes.csv and
# spikes.png: SI-SDRi, steps, spikes, operations and bits a spike of every system, and its difference from its own analog network.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
corpus=
slope=0.2
stage=1
stop_stage=4
config=conf/small.yaml
leaky_configs="conf/termapping.yaml conf/augmapping.yaml conf/termapping-8.yaml conf/augmapping-4.yaml conf/path-independent-4.yaml
  conf/augmapping-2.yaml conf/augmapping-2-ptl.yaml"
also=augmapping-4@8
relu_configs="conf/relu-4.yaml conf/relu-4-ptl.yaml conf/balanced-8.yaml conf/balanced-32.yaml"
tuning_mixtures=200
train_options=
convert_options=
tune_options=
test_mixtures=3000
dev_mixtures=2000
limit=200
more=
rooms=
noise=
data=$recipe/data
exp=$recipe/exp/leaky
jobs=$(nproc)

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
[ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
require_number stage stop_stage tuning_mixtures test_mixtures dev_mixtures limit jobs
[[ $slope =~ ^0?\.[0-9]+$ && ! $slope =~ ^0?\.0+$ ]] || fail "--slope is between 0 and 1, not '$slope'"
[ -f "$corpus/train/wav.scp" ] || fail "give --corpus, a folder with train, dev and test"

config=$(found "$config")
for file in "$config" $leaky_configs $relu_configs; do
  [ -f "$(found "$file")" ] || fail "there is no configuration $(found "$file")"
done

# `twin NAME SLOPE CONFIGS` takes a twin from the mixtures to its conversions.
twin() {
  local last=$((stop_stage < 3 ? stop_stage : 3))
  [ "$stage" -le "$last" ] || return 0
  bash "$recipe/run.sh" --corpus "$corpus" --stage "$stage" --stop-stage "$last" --tag "$1" --config "$config" \
    --convert-configs "$3" --train-options "--network.slope $2 $train_options" \
    --convert-options "--data.epoch_mixtures $tuning_mixtures $convert_options" --test-mixtures "$test_mixtures" \
    --tune-options "--data.epoch_mixtures $tuning_mixtures $tune_options" \
    --dev-mixtures "$dev_mixtures" --more "$more" --rooms "$rooms" --noise "$noise" --data "$data" --exp "$exp" --jobs "$jobs"
}

# `models NAME CONFIGS` adds a twin and its conversions to the array `models`.
models=()
models() {
  local name=$1 config conversion
  models+=("$name=$exp/$name/ann/ann.safetensors")
  for config in $2; do
    config=$(found "$config")
    conversion=$(basename "$config" .yaml)
    models+=("$name-$conversion=$exp/$name/$conversion/snn.safetensors")
    [ ! -f "${config%.yaml}.tune.yaml" ] || models+=("$name-$conversion-tuned=$exp/$name/$conversion-tuned/snn.safetensors")
  done
}

activate
twin leaky "$slope" "$leaky_configs"
twin relu 0 "$relu_configs"
models leaky "$leaky_configs"
for conversion in $also; do
  models+=("leaky-$conversion=$exp/leaky/${conversion%@*}/snn.safetensors@${conversion#*@}")
done
models relu "$relu_configs"
if runs 4 "scores"; then
  separator evaluate --mixtures "open=$data/wav8k/min/test" --model "${models[@]}" --metrics si-sdr --limit "$limit" \
    --jobs "$jobs" --out "$exp/results"
fi
log "done; results are in $exp/results"
