#!/usr/bin/env bash
# The six networks of Yu et al. ("Constructing accurate and efficient deep spiking neural networks with double-threshold and
# augmented schemes", Table I): trained as analog networks, with a slope below zero and without bias, converted by DataNorm,
# TerMapping and AugMapping, and followed over thousands of time steps.
#
#   recipes/double-threshold/run.sh --data DIR
#
#   --data DIR               folder of the sets, in folders of their own: DIR/mnist and DIR/fashion-mnist with the four idx
#                            files of each, DIR/cifar10 with the binary batches or the JPEG copy; links will do
#   --download true          fetch those that the networks need into that folder first
#   --networks "..."         which ("net1 net1-relu net2 net2-relu net3 net4"): net1 and net2 see MNIST, net3 and net4
#                            Fashion-MNIST, net5 and net6, which want a GPU, CIFAR-10; NAME-relu is the same with ReLU in place
#                            of LeakyReLU
#   --methods "..."          conversions ("datanorm termapping path-independent augmapping"): datanorm is for NAME-relu, the
#                            others for the rest; path-independent is this project's own; the others are compared with the last
#   --images N               test images that are simulated, the first ones (all)
#   --boundaries "..."       largest coefficients of spikes, M_aug ("1 2 3 5 10 20 40")
#   --scale X                part of the thresholds in stage 5 (0.25), as if the input were 1 / X times as large
#   --scaled-steps N         time steps of it (1024)
#   --stage N --stop-stage N first and last stage to run:
#                              1 training,
#                              2 conversion, each method's runs as long as the paper's or longer,
#                              3 accuracy, events and likeness to the analog network at each time step (Tables II to IV,
#                                Figs. 2 to 6),
#                              4 AugMapping with boundaries of coefficients, for as many time steps as it takes to its best
#                                accuracy without (Fig. 7); no negative threshold (section III-E),
#                              5 a part of AugMapping's thresholds, until it settles, and path-independent neurons that round, only
#                                where it is asked for
#   --options "..."          more options for `separator train`, such as "--device cuda"
#   --spiking-options "..."  more options for `separator convert` and `separator course`
#   --exp DIR                where results lie (exp beside this script): a folder for each network
#
# Each stage goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../utils/images.sh"
unset seeds jobs # of sweeps, of which there are none
networks="net1 net1-relu net2 net2-relu net3 net4"
methods="datanorm termapping path-independent augmapping"
boundaries="1 2 3 5 10 20 40"
images=
scale=0.25
scaled_steps=1024
spiking_options=
stop_stage=4
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

# `window_of NETWORK METHOD` tells how many time steps a network runs for: as long as it takes the paper's, at least 128.
window_of() {
  local steps
  case ${1%-relu} in
    net1) steps="1500 128" ;;
    net2) steps="1500 256" ;;
    net3) steps="1500 128" ;;
    net4) steps="2900 256" ;;
    net5) steps="2800 320" ;;
    net6) steps="4400 1120" ;;
  esac
  case $2 in
    datanorm | termapping) echo "${steps% *}" ;;
    *) echo "${steps#* }" ;;
  esac
}

# `methods_of NETWORK` tells those of --methods that fit it.
methods_of() {
  local method
  for method in $methods; do
    case $1:$method in
      *-relu:datanorm) echo "$method" ;;
      *-relu:* | *:datanorm) ;;
      *) echo "$method" ;;
    esac
  done
}

# `convert NETWORK NAME OPTION...` converts it into exp/NETWORK/NAME, and looks at a few images; courses see all of them.
convert() {
  local network=$1 name=$2 few=(--data.test_limit 100)
  shift 2
  data_of "$network"
  case $network in net5* | net6*) few=(--data.test_limit 10 --data.dev_batch 10) ;; esac
  # shellcheck disable=SC2086
  separator convert --problem images --init "$exp/$network/ann/ann.safetensors" "$@" "${seen_images[@]}" "${few[@]}" \
    $spiking_options --out "$exp/$network/$name"
}

# `course NETWORK FOLDER NAME...` follows conversions of a network side by side.
course() {
  local network=$1 folder=$2 name models=()
  shift 2
  data_of "$network"
  for name; do
    models+=("$(basename "$name")=$exp/$network/$name/snn.safetensors")
  done
  # shellcheck disable=SC2086
  separator course --problem images --init "$exp/$network/ann/ann.safetensors" --model "${models[@]}" "${seen_images[@]}" \
    ${images:+--data.test_limit "$images"} $spiking_options --out "$exp/$network/$folder"
}

for method in $methods; do
  case $method in
    datanorm | termapping | augmapping | path-independent) ;;
    *) fail "--methods are datanorm, termapping, augmapping and path-independent, not $method" ;;
  esac
done
require_number scaled_steps
[ -z "$images" ] || require_number images
open_sets "net1 to net6 and these with -relu" "$@"

if runs 1 "training"; then
  for network in $networks; do
    log "training $network"
    train "$exp/$network/ann" "$(configs_of "$network")" "$data/$(set_of "$network")"
  done
fi

if runs 2 "conversion"; then
  for network in $networks; do
    for method in $(methods_of "$network"); do
      case $method in
        path-independent) preset="--preset augmapping --conversion.neuron path-independent" ;;
        *) preset="--preset $method" ;;
      esac
      log "converting $network by $method"
      # shellcheck disable=SC2086
      convert "$network" "$method" $preset --conversion.window "$(window_of "$network" "$method")"
    done
  done
fi

if runs 3 "courses"; then
  for network in $networks; do
    found=$(methods_of "$network")
    # shellcheck disable=SC2086
    [ -z "$found" ] || course "$network" course $found
  done
fi

# `best_step NETWORK` tells after how many time steps AugMapping had its best accuracy in stage 3.
best_step() {
  local table=$exp/$1/course/course.csv
  [ -f "$table" ] || fail "stage 4 takes the time steps of AugMapping's best accuracy from $table; run stage 3 first"
  awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "best_step") at = i } $1 == "augmapping" { print $at }' "$table"
}

if runs 4 "boundaries of coefficients, and no negative threshold"; then
  for network in $networks; do
    [[ "$network" == *-relu ]] && continue
    steps=$(best_step "$network")
    [ -n "$steps" ] || fail "$exp/$network/course/course.csv has no row of augmapping; run stage 3 with it among --methods"
    names=()
    for boundary in $boundaries; do
      convert "$network" "boundaries/at-most-$boundary" --preset augmapping --conversion.window "$steps" \
        --conversion.neuron_options "{boundary: $boundary}"
      names+=("boundaries/at-most-$boundary")
    done
    convert "$network" boundaries/unlimited --preset augmapping --conversion.window "$steps"
    course "$network" boundaries/course "${names[@]}" boundaries/unlimited
    for method in termapping augmapping; do
      convert "$network" "no-negative/$method" --preset "$method" --conversion.window "$(window_of "$network" "$method")" \
        --conversion.neuron_options "{negative: 0}"
    done
    course "$network" no-negative/course no-negative/termapping no-negative/augmapping
  done
fi

if runs 5 "a part of the thresholds"; then
  for network in $networks; do
    [[ "$network" == *-relu ]] && continue
    finer=(--preset augmapping --conversion.window "$scaled_steps" --conversion.threshold_scale "$scale" --conversion.weight_bits 16)
    convert "$network" "scaled/augmapping-$scale" "${finer[@]}"
    convert "$network" "scaled/path-independent-$scale" "${finer[@]}" --conversion.neuron path-independent \
      --conversion.initial_potential 0.5
    course "$network" scaled/course "scaled/augmapping-$scale" "scaled/path-independent-$scale"
  done
fi
