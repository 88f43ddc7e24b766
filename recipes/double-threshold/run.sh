#!/usr/bin/env bash
# The six networks with two thresholds of Yu et al. ("Constructing accurate and efficient deep spiking neural networks with
# double-threshold and augmented schemes", Table I): trained as analog networks, with a slope below zero and without bias.
#
#   recipes/double-threshold/run.sh --data DIR
#
#   --data DIR               folder of the sets, in folders of their own: DIR/mnist and DIR/fashion-mnist with the four idx files of
#                            each, DIR/cifar10 with the binary batches or the JPEG copy; links will do
#   --download true          fetch those that the networks need into that folder first
#   --networks "..."         which ("net1 net1-relu net2 net2-relu net3 net4"): net1 and net2 see MNIST, net3 and net4 Fashion-MNIST,
#                            net5 and net6, which want a GPU, CIFAR-10; NAME-relu is the same with ReLU in place of LeakyReLU
#   --stage N --stop-stage N first and last stage to run: 1 training
#   --options "..."          more options for `separator train`, such as "--device cuda"
#   --exp DIR                where results lie (exp beside this script): a folder for each network
#
# Each stage goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../utils/images.sh"
unset seeds jobs # of sweeps, of which there are none
networks="net1 net1-relu net2 net2-relu net3 net4"
stop_stage=1
exp=$recipe/exp

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"

# `set_of NETWORK` tells which images a network sees.
set_of() {
  case ${1%-relu} in
    net1 | net2) echo mnist ;;
    net3 | net4) echo fashion-mnist ;;
    net5 | net6) echo cifar10 ;;
    *) return 1 ;;
  esac
}

# `configs_of NETWORK` tells the files of conf/ that a network is trained by.
configs_of() {
  case $1 in
    *-relu) echo "${1%-relu},relu" ;;
    *) echo "$1" ;;
  esac
}

sets=
for network in $networks; do
  seen=$(set_of "$network") || fail "--networks are net1 to net6 and these with -relu, not $network"
  [[ " $sets " == *" $seen "* ]] || sets+=" $seen"
done
sets=${sets# }
open_data "the folder with a folder for each of ${sets// /, }" "${sets// /, }" "$@"
for seen in $sets; do
  [ -d "$data/$seen" ] || [ "$download" = true ] || fail "$data has no folder $seen; to fetch it, give --download true"
  fetch "$seen" "$data/$seen"
done

if runs 1 "training"; then
  for network in $networks; do
    log "training $network"
    train "$exp/$network/ann" "$(configs_of "$network")" "$data/$(set_of "$network")"
  done
fi
