#!/usr/bin/env bash
# Learning curves against depth (Wu et al. 2021, section 5.2 and Fig. 4): VGG-11, VGG-13 and VGG-16 trained end to end, as
# analog networks, in tandem, and through time with surrogate derivatives; and the analog ones converted progressively, as
# published and with all that this project adds.
#
#   recipes/cifar10/depth.sh --data DIR
#
#   --data DIR          folder with CIFAR-10, its binary batches or the JPEG copy
#   --width N           filters of the first convolution, 64 in the paper's networks; the other layers in proportion
#   --depths "..."      which networks ("11 13 16")
#   --learning "..."    which ways of learning ("analog tandem surrogate progressive few-steps"); the last two, which convert
#                       with the presets published and few-steps, need the first
#   --epochs N          of each training (100); the learning rate falls to a tenth at half of them. Conversions have as many for
#                       all stages of all passes together, at least one for each
#   --window N          time steps (8)
#   --options "..."     more options for `separator train` and `convert`, such as "--device cuda"
#   --train-options "..." and --convert-options "..."   for one of them only
#   --exp DIR           where results lie (exp/depth beside this script): a folder for each training, curves.png, curves.md
#
# Full size is meant for a GPU. For two CPU cores, fifteen small networks:
#
#   recipes/cifar10/depth.sh --data DIR --width 8 --epochs 12 \
#       --options "--data.train_limit 5000 --data.batch 32 --device cpu --threads 1"
#
# The networks are without dropout, which spikes in tandem do not see, so that all three ways train the same. A training that
# diverges is drawn as far as it came. The same command goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=
width=64
depths="11 13 16"
learning="analog tandem surrogate progressive few-steps"
epochs=100
window=8
options=
train_options=
convert_options=
exp=$recipe/exp/depth

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
[ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
[ -d "$data" ] || fail "give --data, the folder with CIFAR-10${data:+, not $data}"
require_number width epochs window

# How conversions are done, and how often each stage is tuned.
declare -A preset=([progressive]=published [few-steps]=few-steps) passes=([progressive]=1 [few-steps]=2)
# Filters of the convolutions, in units of --width, and pooling.
declare -A vgg=(
  [11]="1 a2 2 a2 4 4 a2 8 8 a2 8 8 a2"
  [13]="1 1 a2 2 2 a2 4 4 a2 8 8 a2 8 8 a2"
  [16]="1 1 a2 2 2 a2 4 4 4 a2 8 8 8 a2 8 8 8 a2"
)
for depth in $depths; do
  [ -n "${vgg[$depth]:-}" ] || fail "--depths are of ${!vgg[*]}, not $depth"
done
activate

# `layers DEPTH` writes a network as `separator train` takes it.
layers() {
  local layer text=
  for layer in ${vgg[$1]}; do
    case $layer in
      a*) text+=$layer- ;;
      *) text+=c$((layer * width))- ;;
    esac
  done
  echo "$text$((8 * width))-$((8 * width))-10"
}

mkdir -p "$exp"
declare -A diverged=() # WAY-DEPTH of the trainings that left no network
for depth in $depths; do
  for way in $learning; do
    out=$exp/$way-vgg$depth
    analog=$exp/analog-vgg$depth/ann.safetensors
    log "VGG-$depth, $way"
    status=0
    # shellcheck disable=SC2086 # options are several words
    if [ -n "${preset[$way]:-}" ]; then
      if [ ! -f "$analog" ] && [ -n "${diverged[analog-$depth]:-}" ]; then
        log "VGG-$depth, $way: the analog network diverged, so there is nothing to convert"
        continue
      fi
      stages=$((depth * passes[$way]))
      separator convert --problem images --init "$analog" --preset "${preset[$way]}" \
        --conversion.readout potential --conversion.window "$window" --conversion.percentile 99.9 --conversion.lr 0.0003 \
        --conversion.max_epochs $(((epochs + stages - 1) / stages)) --data.kind cifar10 --data.folder "$data" \
        $options $convert_options --out "$out" >&2 || status=$?
    else
      separator train --problem images --learning.rule "$way" --conversion.window "$window" --data.kind cifar10 --data.folder "$data" \
        --network.channels 3 --network.height 32 --network.width 32 --network.layers "$(layers "$depth")" \
        --optimiser.max_epochs "$epochs" $options $train_options --out "$out" >&2 || status=$?
    fi
    case $status in
      0) ;;
      3) diverged[$way-$depth]=yes ;;
      *) exit "$status" ;;
    esac
  done
done

runs=()
for way in $learning; do
  for depth in $depths; do
    if grep -qs dev_loss "$exp/$way-vgg$depth"/{progress.csv,csv/version_*/metrics.csv}; then
      runs+=("$way/VGG-$depth=$exp/$way-vgg$depth")
    else
      log "VGG-$depth, $way: no epoch was finished; it is left out"
    fi
  done
done
[ ${#runs[@]} -gt 0 ] || fail "no training has finished an epoch"
separator plot-curves "${runs[@]}" --out "$exp/curves.png"
