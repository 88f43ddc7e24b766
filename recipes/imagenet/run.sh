#!/usr/bin/env bash
# Networks for ImageNet-12 (Wu et al. 2021, section 5.3 and Table 1): trained, converted for 16 time steps, and scored.
#
#   recipes/imagenet/run.sh --data DIR
#
#   --data DIR                folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG
#   --network NAME            imagenet-alexnet (the default) or imagenet-vgg16, or layers as `separator train` takes them
#   --tag NAME                of this run (the network's name)
#   --stage N --stop-stage N  first and last stage to run:
#                               1 ANN, 2 conversion by progressive tandem learning,
#                               3 top-1 and top-5 accuracies of both, with operations and energy
#   --options "..."           more options for stages 1 and 2, such as "--device cuda --data.batch 64"
#   --train-options "..."     more options for `separator train`
#   --convert-options "..."   more options for `separator convert`
#   --score-options "..."     more options for `separator evaluate`, such as "--device cuda --data.dev_batch 32"
#   --exp DIR                 where results lie (exp beside this script), in a folder of the tag's name
#
# Each stage goes on where it was stopped.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=
network=imagenet-alexnet
tag=
stage=1
stop_stage=3
options=
train_options=
convert_options=
score_options=
exp=$recipe/exp

. "$recipe/../utils/parse_options.sh"
. "$recipe/../utils/common.sh"
[ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
[ -n "$data" ] || fail "give --data, the folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG"
require_number stage stop_stage
activate
out=$exp/${tag:-$network}

# shellcheck disable=SC2086 # options are several words, here and below
if runs 1 "training"; then
  separator train --config "$recipe/conf/ann.yaml" --network.layers "$network" --data.folder "$data" \
    --out "$out/ann" $options $train_options
fi

# shellcheck disable=SC2086
if runs 2 "conversion"; then
  separator convert --config "$recipe/conf/ptl-16.yaml" --init "$out/ann/ann.safetensors" --data.folder "$data" \
    --out "$out/ptl-16" $options $convert_options
fi

# shellcheck disable=SC2086
if runs 3 "scores"; then
  separator evaluate --problem images --model "ann=$out/ann/ann.safetensors" "ptl-16=$out/ptl-16/snn.safetensors" \
    --data.kind folder --data.folder "$data" --out "$out/results" $score_options
fi
log "done; results are in $out"
