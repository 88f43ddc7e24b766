#!/usr/bin/env bash
# WSJ0-2mix: mixtures by the published protocol, train, convert to spikes, score.
#
#   recipes/wsj0-2mix/run.sh --wsj0 DIR --lists DIR [--levels DIR]
#
#   --wsj0 DIR               WSJ0 (LDC93S6A or LDC93S6B), discs in any layout, or converted to wav
#   --lists DIR              folder with mix_2_spk_{tr,cv,tt}.txt of create-speaker-mixtures
#   --levels DIR             active speech levels of the original generator; measured by ITU-T P.56 if not given
#   --genders FILE           speakers and their genders, one a line (LISTS/wsj0-train-spkrinfo.txt if it exists)
#   --mode min|max           cut the sources of a mixture to the shorter one, or pad to the longer (min)
#   --rate 8000|16000        sample rate, Hz (8000)
#   --stage N --stop-stage N first and last stage to run:
#                              0 read WSJ0, 1 mixtures, 2 train the ANN, 3 convert it, 4 score, 5 examples
#   --tag NAME               results go to EXP/NAME (paper)
#   --config FILE            of the training (conf/paper.yaml)
#   --convert-configs "..."  of the conversions, each with a name and a spiking network of its own (conf/ptl.yaml); paths that
#                            are not found are looked for beside this script
#   --train-options "..."    more options for `separator train`, such as "--optimiser.lr 0.001"
#   --convert-options "..."  more options for `separator convert`
#   --tune-options "..."     more options for `separator train` where a NAME.tune.yaml or NAME.tandem.yaml stands beside NAME.yaml
#   --data DIR               where prepared data lie (data beside this script)
#   --exp DIR                where results lie (exp beside this script)
#   --jobs N                 processes (all cores)
#
# Each stage goes on where it was stopped. Only the first microphone (.wv1) is read.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
wsj0=
lists=
levels=
genders=
mode=min
rate=8000
stage=0
stop_stage=5
tag=paper
config=$recipe/conf/paper.yaml
convert_configs=conf/ptl.yaml
train_options=
convert_options=
tune_options=
data=$recipe/data
exp=$recipe/exp
jobs=$(nproc)

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
. "$recipe/../utils/learn.sh"
[ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
require_number stage stop_stage rate jobs
case "$mode" in min | max) ;; *) fail "--mode is min or max, not $mode" ;; esac
case "$rate" in 8000 | 16000) ;; *) fail "--rate is 8000 or 16000, not $rate" ;; esac
[ "$stage" -gt 0 ] || [ -n "$wsj0" ] || fail "stage 0 needs --wsj0 DIR"
[ "$stage" -gt 1 ] || [ -n "$lists" ] || fail "stages 0 and 1 need --lists DIR"
if [ -z "$genders" ] && [ -f "$lists/wsj0-train-spkrinfo.txt" ]; then
  genders=$lists/wsj0-train-spkrinfo.txt
fi
activate
mixtures=$data/wav$((rate / 1000))k/$mode
mkdir -p "$data"

if runs 0 "reading WSJ0"; then
  separator prepare wsj0 --wsj0 "$wsj0" --lists "$lists" --out "$data" --jobs "$jobs"
fi

if runs 1 "mixtures"; then
  for set in tr cv tt; do
    separator mix --wsj0 "$data/wsj0" --list "$lists/mix_2_spk_$set.txt" --out "$mixtures/$set" --mode "$mode" --rate "$rate" \
      ${levels:+--levels "$levels"} ${genders:+--genders "$genders"} --jobs "$jobs"
  done
fi

learn "$mixtures/tr" "$mixtures/cv" "$mixtures/cv" "$mixtures/tt"
