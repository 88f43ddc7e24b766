#!/usr/bin/env bash
# The autoencoder of digits (Wu et al. 2021, sections 6.1 and 6.3.1): trained, then converted for several time windows.
#
#   recipes/mnist-autoencoder/run.sh --data DIR
#
#   --data DIR               folder with the four idx files of MNIST, compressed or not
#   --download true          fetch them into that folder first
#   --stage N --stop-stage N first and last stage to run:
#                              1 as published (Table 3), 2 what each addition of this project does, 3 all of them together,
#                              4 scores, operations and pictures of digits (Fig. 8) of the first networks
#   --seeds N                networks trained, each converted for each window (5)
#   --jobs N                 trainings and conversions at a time (1)
#   --options "..."          more options for `separator sweep`, such as "--device cuda"
#   --exp DIR                where results lie (exp beside this script)
#
# Each stage goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../utils/images.sh"
stop_stage=4
exp=$recipe/exp

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
begin mnist "$@"

if runs 1 "as published"; then
  sweep "$exp" ann,ptl,published
fi
if runs 2 "additions one by one"; then
  sweep "$exp" ann,ptl,additions
fi
if runs 3 "all additions"; then
  sweep "$exp" ann,ptl,preset
fi
if runs 4 "scores and pictures"; then
  score "$exp" {published,published-99,preset}-window-{32,16,8,4,2,1}
fi
