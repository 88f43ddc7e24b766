#!/usr/bin/env bash
# The convolutional network for MNIST (Wu et al. 2021, section 5.4 and Table 2): trained, then converted with weights of few bits.
#
#   recipes/mnist/run.sh --data DIR
#
#   --data DIR               folder with the four idx files of MNIST, compressed or not
#   --download true          fetch them into that folder first
#   --stage N --stop-stage N first and last stage to run:
#                              1 as published, 16 time steps, weights in floating point and of 8 to 4 bits (Table 2),
#                              2 with all that this project adds, 16 time steps to 1, and with a penalty on firing rates,
#                              3 scores and operations of the first networks
#   --seeds N                networks trained, each converted in each way (5)
#   --jobs N                 trainings and conversions at a time (1)
#   --options "..."          more options for `separator sweep`, such as "--device cuda"
#   --exp DIR                where results lie (exp beside this script)
#
# Each stage goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../utils/images.sh"
stop_stage=3
exp=$recipe/exp

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
begin mnist "$@"

if runs 1 "weights of few bits"; then
  sweep "$exp" ann,ptl,bits
fi
if runs 2 "few time steps"; then
  sweep "$exp" ann,ptl,preset
  sweep "$exp" ann,ptl,few-spikes
fi
if runs 3 "scores"; then
  score "$exp" published-weight_bits-{0,8,4} {preset,sparse,few-spikes}-window-{16,8,4,3,2,1}
fi
