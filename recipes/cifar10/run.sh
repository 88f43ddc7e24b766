#!/usr/bin/env bash
# AlexNet and VGG-11 for CIFAR-10 (Wu et al. 2021, sections 5.3 to 5.5): trained, then converted for several time windows, bits of
# weights and patiences. The learning curves against depth of section 5.2 are those of depth.sh.
#
#   recipes/cifar10/run.sh --data DIR
#
#   --data DIR               folder with CIFAR-10, its binary batches or the JPEG copy
#   --download true          fetch the binary batches into that folder first
#   --size full|small        the paper's networks, for a GPU, or a quarter of their filters on a fifth of the pictures for a few
#                            epochs, for two CPU cores (full)
#   --networks "..."         "alexnet vgg11"; stages 2 to 5 are of the first one only
#   --stage N --stop-stage N first and last stage to run:
#                              1 as published with 16 time steps (Table 1; Fig. 5 is progress.png of each conversion),
#                              2 weights of few bits (Table 2), 3 time windows (Fig. 6 A and B) with either
#                              percentile of the paper, and thresholds of channels (section 3.3),
#                              4 patience (Fig. 6 C and D), 5 with all that this project adds,
#                              6 scores and operations of the first networks
#   --seeds N                networks trained, each converted in each way (5)
#   --jobs N                 trainings and conversions at a time (1)
#   --options "..."          more options for `separator sweep`, such as "--device cuda"
#   --exp DIR                where results lie (exp beside this script): a folder for each network and size
#
# Each stage goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../utils/images.sh"
size=full
networks="alexnet vgg11"
stop_stage=6
exp=$recipe/exp

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
case $size in full | small) ;; *) fail "--size is full or small, not $size" ;; esac
for network in $networks; do
  [ -e "$recipe/conf/$network-$size.yaml" ] || fail "--networks are of alexnet and vgg11, not $network"
done
begin cifar10 "$@"

first=${networks%% *}
configs=ann,$first-$size,ptl,$size
if runs 1 "as published"; then
  for network in $networks; do
    sweep "$exp/$network-$size" "ann,$network-$size,ptl,$size,windows" --values '[16]'
  done
fi
if runs 2 "weights of few bits"; then
  sweep "$exp/$first-$size" "$configs,bits"
fi
if runs 3 "time windows"; then
  sweep "$exp/$first-$size" "$configs,windows"
  sweep "$exp/$first-$size" "$configs,channels"
fi
if runs 4 "patience"; then
  sweep "$exp/$first-$size" "$configs,patience-$size"
fi
if runs 5 "few time steps"; then
  sweep "$exp/$first-$size" "$configs,preset"
  sweep "$exp/$first-$size" "$configs,pruned-$size"
  sweep "$exp/$first-$size" "$configs,few-spikes"
fi
if runs 6 "scores"; then
  for network in $networks; do
    score "$exp/$network-$size" {published,published-99,published-channels,preset,sparse,pruned,few-spikes}-window-{32,16,8,4,3,2,1} published-weight_bits-{8,4}
  done
fi
