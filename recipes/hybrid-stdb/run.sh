#!/usr/bin/env bash
# The networks of Rathi et al. ("Enabling deep spiking neural networks with hybrid conversion and spike timing dependent
# backpropagation"): trained as analog networks without bias, converted by threshold balancing under Poisson input, tuned by
# spike-timing-dependent backpropagation, and followed over their time steps.
#
#   recipes/hybrid-stdb/run.sh --data DIR
#
#   --data DIR               folder of the sets, in folders of their own: DIR/cifar10 with the binary batches or the JPEG copy,
#                            DIR/cifar100 with the binary version, DIR/imagenet with train/CLASS and val/CLASS; links will do
#   --download true          fetch CIFAR-10 or CIFAR-100 into that folder first
#   --networks "..."         which ("vgg5-w16"): vgg5-w16, which is ours and for CPUs, vgg5, vgg9, vgg16, resnet8 and resnet20 see
#                            CIFAR-10, vgg11 CIFAR-100, vgg16-imagenet and resnet34 ImageNet-12; all but those of width 16 want a GPU
#   --steps N                time steps of the converted network (2500)
#   --balance-steps N        time steps that thresholds are balanced over (1000)
#   --scale X                of the thresholds of the network that runs for fewer steps (0.7)
#   --few-steps N            time steps that it runs for, and learns through (as many as the paper's, Table 1); any other number is
#                            in the names of folders, so that several stand side by side, from one analog network
#   --epochs N               that it is tuned for, at most (20)
#   --rate X                 learning rate of the tuning, halved every five epochs (1e-4)
#   --images N               test images that are simulated, the first ones (all)
#   --stage N --stop-stage N first and last stage to run:
#                              1 training,
#                              2 conversion, for many time steps, and for few with scaled thresholds,
#                              3 tuning of the network that runs for fewer steps (Algorithms 2 and 3),
#                              4 accuracy and events at each time step (Table 1), spikes of each layer (Fig. 3),
#                              5 the same tuning with each derivative of a spike (appendix A), and what they look like (Fig. 1 and 4),
#                                only where it is asked for
#   --options "..."          more options for `separator train`, such as "--device cuda"
#   --spiking-options "..."  more options for `separator convert` and `separator course`
#   --convert-options "..."  more options for `separator convert`, such as "--conversion.calibration_batches 2"
#   --tune-options "..."     more options for the tuning, such as "--data.train_limit 5000" or "--learning.segment 25"
#   --derivatives "..."      that stage 5 compares ("stdb linear exponential")
#   --exp DIR                where results lie (exp beside this script): a folder for each network
#
# Each stage goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../utils/images.sh"
unset seeds jobs # of sweeps, of which there are none
networks="vgg5-w16"
steps=2500
balance_steps=1000
scale=0.7
few_steps=
epochs=20
rate=1e-4
derivatives="stdb linear exponential"
images=
spiking_options=
convert_options=
tune_options=
stop_stage=4
exp=$recipe/exp

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"

# `set_of NETWORK` tells which images a network sees.
set_of() {
  case $1 in
    vgg5-w16 | vgg5 | vgg9 | vgg16 | resnet8-w16 | resnet8 | resnet20) echo cifar10 ;;
    vgg11) echo cifar100 ;;
    vgg16-imagenet | resnet34) echo imagenet ;;
    *) return 1 ;;
  esac
}

# `paper_steps_of NETWORK` tells the reduced number of time steps that the paper has of it.
paper_steps_of() {
  case $1 in
    vgg5*) echo 75 ;;
    vgg9 | vgg16) echo 100 ;;
    vgg11) echo 125 ;;
    resnet8*) echo 200 ;;
    *) echo 250 ;;
  esac
}

# `few_steps_of NETWORK` tells the reduced number of time steps that it runs for.
few_steps_of() {
  echo "${few_steps:-$(paper_steps_of "$1")}"
}

# `at_few_steps NETWORK NAME` tells the name of what is of so many, and of its folder: with the number if it is not the paper's.
at_few_steps() {
  local few paper
  few=$(few_steps_of "$1") paper=$(paper_steps_of "$1")
  if [ "$few" -eq "$paper" ]; then echo "$2"; else echo "$2-$((10#$few))"; fi
}

# `convert NETWORK NAME OPTION...` converts it into exp/NETWORK/NAME, with thresholds from training images that are varied: 16 of
# ImageNet's, of which trains of a layer of VGG16 are 6 GB for 1,000 steps.
convert() {
  local network=$1 name=$2 varied
  shift 2
  data_of "$network"
  case $(set_of "$network") in
    imagenet) varied=(--data.batch 16 --conversion.calibration_batches 1) ;;
    *) varied=(--data.batch 64 --data.shift 4) ;;
  esac
  varied+=(--data.flip true)
  # shellcheck disable=SC2086
  separator convert --problem images --init "$exp/$network/ann/ann.safetensors" --preset hybrid "$@" "${seen_images[@]}" \
    "${varied[@]}" --conversion.balance_steps "$balance_steps" --data.dev_batch 50 --data.test_limit 100 $spiking_options \
    $convert_options --out "$exp/$network/$name"
}

# `tune NETWORK NAME OPTION...` tunes its conversion for fewer steps by spike-timing-dependent backpropagation.
tune() {
  local network=$1 name=$2 varied=(--data.batch 64 --data.flip true) reduced
  reduced=$(at_few_steps "$1" reduced)
  shift 2
  data_of "$network"
  [ "$(set_of "$network")" = imagenet ] || varied+=(--data.shift 4)
  # shellcheck disable=SC2086
  separator train --problem images --init "$exp/$network/$reduced/snn.safetensors" --learning.rule stdb --learning.leak 0.99 \
    --learning.stdb.loss_of_spikes true --optimiser.lr "$rate" --optimiser.schedule step --optimiser.drop 0.5 \
    --optimiser.drop_every 5 --optimiser.weight_decay 5e-4 --optimiser.max_epochs "$epochs" --optimiser.clip 1 \
    --optimiser.best score "${seen_images[@]}" \
    "${varied[@]}" --data.dev_batch 50 "$@" $options $tune_options --out "$exp/$network/$name"
}

# `models_of NETWORK NAME...` sets the array `models` to those of its spiking networks that there are.
models_of() {
  local network=$1 name
  shift
  models=()
  for name; do
    [ ! -e "$exp/$network/$name/snn.safetensors" ] || models+=("$(basename "$name")=$exp/$network/$name/snn.safetensors")
  done
}

require_number steps balance_steps epochs
[ -z "$few_steps" ] || require_number few_steps
[ -z "$images" ] || require_number images
open_sets "vgg5-w16, vgg5, vgg9, vgg11, vgg16, vgg16-imagenet, resnet8-w16, resnet8, resnet20 and resnet34" "$@"

if runs 1 "training"; then
  for network in $networks; do
    log "training $network"
    train "$exp/$network/ann" "$network" "$data/$(set_of "$network")"
  done
fi

if runs 2 "conversion"; then
  for network in $networks; do
    log "converting $network"
    convert "$network" converted --conversion.window "$steps"
    convert "$network" "$(at_few_steps "$network" reduced)" --conversion.window "$(few_steps_of "$network")" \
      --conversion.threshold_scale "$scale"
  done
fi

if runs 3 "tuning"; then
  for network in $networks; do
    log "tuning $network"
    tune "$network" "$(at_few_steps "$network" stdb)"
  done
fi

if runs 4 "courses and scores"; then
  for network in $networks; do
    data_of "$network"
    few=("$(at_few_steps "$network" reduced)" "$(at_few_steps "$network" stdb)")
    others=() # of the paper's number of steps, whose courses stay in the table
    [ "${few[0]}" = reduced ] || others=(reduced stdb)
    models_of "$network" converted ${others[@]+"${others[@]}"} "${few[@]}"
    # shellcheck disable=SC2086
    separator course --problem images --init "$exp/$network/ann/ann.safetensors" "${seen_images[@]}" --model "${models[@]}" \
      ${images:+--data.test_limit "$images"} $spiking_options --out "$exp/$network/course"
    models_of "$network" "${few[@]}" # the longest runs only have their course
    # shellcheck disable=SC2086
    separator evaluate --problem images --model "ann=$exp/$network/ann/ann.safetensors" "${models[@]}" "${seen_images[@]}" \
      --data.dev_batch 50 ${images:+--data.test_limit "$images"} $spiking_options \
      --out "$exp/$network/$(at_few_steps "$network" results)"
  done
fi

if runs 5 "derivatives of a spike"; then
  for network in $networks; do
    data_of "$network"
    folder=$(at_few_steps "$network" derivatives)
    separator plot-derivatives --steps "$(few_steps_of "$network")" --out "$exp/$network/$folder/derivatives.png"
    names=() curves=()
    for derivative in $derivatives; do
      tune "$network" "$folder/$derivative" --learning.stdb.derivative "$derivative"
      names+=("$folder/$derivative")
      curves+=("$derivative=$exp/$network/$folder/$derivative")
    done
    separator plot-curves "${curves[@]}" --out "$exp/$network/$folder/curves.png"
    models_of "$network" "${names[@]}"
    # shellcheck disable=SC2086
    separator evaluate --problem images --model "${models[@]}" "${seen_images[@]}" --data.dev_batch 50 \
      ${images:+--data.test_limit "$images"} $spiking_options --out "$exp/$network/$folder/results"
  done
fi
