#!/usr/bin/env bash
# Two talkers of openly licensed speech: train, convert to spikes, score.
#
#   recipes/open-2mix/run.sh --corpus DIR
#   recipes/open-2mix/run.sh --librispeech LibriSpeech --speechocean762 speechocean762
#   recipes/open-2mix/run.sh --corpus DIR --more "DIR DIR" --rooms FILE --noise DIR --tag medium --config conf/medium.yaml
#
# The corpus: Kaldi data folders DIR/train, DIR/dev (the same speakers) and DIR/test (others), or downloads that stage 0
# makes them from: LibriSpeech (OpenSLR 12, train-clean-100 is enough) and speechocean762 (OpenSLR 101).
#
#   --corpus DIR             folder with train, dev and test
#   --librispeech DIR        LibriSpeech, unpacked
#   --speechocean762 DIR     speechocean762, unpacked
#   --stage N --stop-stage N first and last stage to run:
#                              0 corpus, 1 mixtures, 2 train the ANN, 3 convert it, 4 score, 5 examples
#   --tag NAME               results go to EXP/NAME (small)
#   --config FILE            of the training (conf/small.yaml)
#   --convert-configs "..."  of the conversions, each with a name and a spiking network of its own (conf/ptl.yaml conf/ptl-4.yaml);
#                            paths that are not found are looked for beside this script
#   --train-options "..."    more options for `separator train`, such as "--optimiser.lr 0.001"
#   --convert-options "..."  more options for `separator convert`
#   --tune-options "..."     more options for `separator train` where it tunes a conversion (conf/ptl-4.tune.yaml) or the ANN learns
#                            on as a spiking network (conf/medium-4.tandem.yaml)
#   --test-mixtures N        (3000)
#   --dev-mixtures N         (2000)
#   --more "DIR ..."         more Kaldi data folders to train on
#   --rooms FILE --noise DIR room impulse responses and noises for the training, see data/README.md
#   --other "NAME=DIR ..."   more Kaldi data folders, each of which is a further condition to be scored in, and nothing else
#   --other-mixtures N       of each of them (1000)
#   --data DIR               where prepared data lie (data beside this script)
#   --exp DIR                where results lie (exp beside this script)
#   --jobs N                 processes (all cores)
#
# Each stage goes on where it was stopped. DATA gets the mixture lists and mixtures of every set; EXP/NAME the networks and
# their training logs, results/ (tables of `separator evaluate`), RESULTS.md with its picture pitch.png, and examples/.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
corpus=
librispeech=
speechocean762=
stage=0
stop_stage=5
tag=small
config=$recipe/conf/small.yaml
convert_configs="conf/ptl.yaml conf/ptl-4.yaml"
train_options=
convert_options=
tune_options=
test_mixtures=3000
dev_mixtures=2000
more=
rooms=
noise=
other=
other_mixtures=1000
data=$recipe/data
exp=$recipe/exp
jobs=$(nproc)

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
. "$recipe/../utils/learn.sh"
[ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
require_number stage stop_stage test_mixtures dev_mixtures other_mixtures jobs
read -rd '' -a others <<<"$other" || : # words, of several lines too
check_conditions ${others[@]+"${others[@]}"}
activate
mkdir -p "$data"

if [ -z "$corpus" ]; then
  corpus=$data/corpus
  if runs 0 "corpus from downloads"; then
    [ -n "$librispeech$speechocean762" ] || fail "give --corpus, or --librispeech and --speechocean762"
    separator prepare open-2mix --out "$corpus" --jobs "$jobs" \
      ${librispeech:+--librispeech "$librispeech"} ${speechocean762:+--speechocean762 "$speechocean762"}
  fi
fi
for set in train dev test; do
  [ -f "$corpus/$set/wav.scp" ] || fail "$corpus/$set is not a Kaldi data folder; give --corpus, or run stage 0"
done

if runs 1 "mixtures"; then
  while read -r set count seed; do
    separator mix --corpus "$corpus/$set" --list "$data/lists/$set.txt" --draw "$count" --seed "$seed" \
      --out "$data/wav8k/min/$set" --jobs "$jobs"
  done <<<"dev $dev_mixtures 1
test $test_mixtures 2"
  for condition in ${others[@]+"${others[@]}"}; do
    name=other-${condition%%=*}
    separator mix --corpus "${condition#*=}" --list "$data/lists/$name.txt" --draw "$other_mixtures" --seed 3 \
      --out "$data/wav8k/min/$name" --jobs "$jobs"
  done
fi

rate=8000
further=()
for condition in ${others[@]+"${others[@]}"}; do
  further+=("${condition%%=*}=$data/wav8k/min/other-${condition%%=*}")
done
choose_training_data "$corpus/train" "$more" "$rooms" "$noise"
learn "$train" "$corpus/dev" "$data/wav8k/min/dev" "$data/wav8k/min/test" ${further[@]+"${further[@]}"}
