# What the recipes for images share: options, and what they call. Source it above parse_options.sh; the script has set `recipe`.

data=
download=false
stage=1
seeds=5
jobs=1
options=

# `begin SET "$@"` checks the options, and downloads MNIST or CIFAR-10 if that is asked for.
begin() {
  set_name=$1 # `score` takes it too
  shift
  [ $# -eq 0 ] || fail "unexpected argument $1 (--help tells more)"
  require_number stage stop_stage seeds jobs
  [ -n "$data" ] || fail "give --data, the folder with $set_name's files, or a new folder and --download true"
  [ -d "$data" ] || [ "$download" = true ] || fail "$data is no folder; to fetch $set_name into it, give --download true"
  activate
  [ "$download" = false ] || separator fetch-images "$set_name" "$data"
}

# `sweep FOLDER CONFIGS OPTION...` trains and converts as the files of conf/ say, joined by commas, and prints the table.
sweep() {
  local folder=$1 configs=() config
  for config in ${2//,/ }; do
    configs+=(--config "$recipe/conf/$config.yaml")
  done
  shift 2
  # shellcheck disable=SC2086 # options are several words
  separator sweep "${configs[@]}" --data.folder "$data" --seeds "$seeds" --jobs "$jobs" "$@" $options --out "$folder"
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
