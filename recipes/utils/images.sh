# What the recipes for images share: options, and what they call. Source it above parse_options.sh; the script has set `recipe`.

data=
download=false
stage=1
seeds=5
jobs=1
options=

# `begin SET "$@"` checks the options, and downloads the set into the folder of --data if that is asked for.
begin() {
  set_name=$1 # `score` takes it too
  shift
  require_number seeds jobs
  open_data "the folder with $set_name's files" "$set_name" "$@"
  fetch "$set_name" "$data"
}

# `open_data TEXT SETS "$@"` ends the script unless the folder of --data, which TEXT tells, is there or SETS shall be fetched into it.
open_data() {
  local what=$1 sets=$2
  shift 2
  [ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
  require_number stage stop_stage
  [ -n "$data" ] || fail "give --data, $what, or a new folder and --download true"
  [ -d "$data" ] || [ "$download" = true ] || fail "$data is no folder; to fetch $sets into it, give --download true"
  activate
}

# `open_sets TEXT "$@"` does so for the sets, as `set_of` tells them, that --networks see, each in a folder of its own; TEXT tells which
# networks there are.
open_sets() {
  local text=$1 network seen sets=
  shift
  for network in $networks; do
    seen=$(set_of "$network") || fail "--networks are $text, not $network"
    [[ " $sets " == *" $seen "* ]] || sets+=" $seen"
  done
  sets=${sets# }
  open_data "the folder with a folder for each of ${sets// /, }" "${sets// /, }" "$@"
  for seen in $sets; do
    if [ "$seen" = imagenet ]; then
      [ -d "$data/imagenet" ] || fail "$data has no folder imagenet, which nothing fetches"
      continue
    fi
    [ -d "$data/$seen" ] || [ "$download" = true ] || fail "$data has no folder $seen; to fetch it, give --download true"
    fetch "$seen" "$data/$seen"
  done
}

# `data_of NETWORK` puts the options of the images that it sees, in such a folder, into the array `seen_images`.
data_of() {
  local seen
  seen=$(set_of "$1")
  seen_images=(--data.kind "${seen/imagenet/folder}" --data.folder "$data/$seen")
}

# `fetch SET FOLDER` downloads what the folder lacks of a set, if that is asked for.
fetch() {
  [ "$download" = false ] || separator fetch-images "$1" "$2"
}

# `read_configs CONFIGS` sets the array `config_options` to those for files of conf/, joined by commas.
read_configs() {
  local config
  config_options=()
  for config in ${1//,/ }; do
    config_options+=(--config "$recipe/conf/$config.yaml")
  done
}

# `train FOLDER CONFIGS DATA OPTION...` trains a network as the files of conf/ say, joined by commas.
train() {
  local folder=$1 images=$3 config_options
  read_configs "$2"
  shift 3
  # shellcheck disable=SC2086 # options are several words
  separator train "${config_options[@]}" --data.folder "$images" "$@" $options --out "$folder"
}

# `sweep FOLDER CONFIGS OPTION...` trains and converts as the files of conf/ say, joined by commas, and prints the table.
sweep() {
  local folder=$1 config_options
  read_configs "$2"
  shift 2
  # shellcheck disable=SC2086 # options are several words
  separator sweep "${config_options[@]}" --data.folder "$data" --seeds "$seeds" --jobs "$jobs" "$@" $options --out "$folder"
}

# `score FOLDER NAME...` scores, side by side, the first analog network of a sweep and those of its conversions that there are.
score() {
  local folder=$1 name file models=("ann=$1/seed-0/ann/ann.safetensors")
  shift
  for name; do
    file=$folder/seed-0/$name/snn.safetensors
    [ ! -e "$file" ] || models+=("$name=$file")
  done
  separator evaluate --problem images --model "${models[@]}" --data.folder "$data" --data.kind "$set_name" \
    --out "$folder/results"
}
