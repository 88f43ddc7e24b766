# What the recipes for images share; source it below common.sh. The script has set `recipe`, `data`, `download`, `seeds`, `jobs`
# and `options`.

# `need_data SET` gets MNIST or CIFAR-10 if it is to be downloaded, and ends the script where there is no folder of it.
need_data() {
  [ -n "$data" ] || fail "give --data, the folder with $1's files, or a new folder and --download true"
  if [ "$download" = true ]; then
    separator fetch-images "$1" "$data"
  fi
  [ -d "$data" ] || fail "$data is no folder; to fetch $1 into it, give --download true"
}

# `sweep FOLDER CONFIGS OPTION...` trains and converts as the files of conf/ say, joined by commas, and prints the table.
sweep() {
  local folder=$1 configs=() config
  for config in ${2//,/ }; do
    configs+=(--config "$recipe/conf/$config.yaml")
  done
  shift 2
  # shellcheck disable=SC2086 # options are several words
  separator sweep-images "${configs[@]}" --data.folder "$data" --seeds "$seeds" --jobs "$jobs" "$@" $options --out "$folder"
}

# `score FOLDER NAME...` scores, side by side, the first analog network of a sweep and those of its conversions that there are.
score() {
  local folder=$1 name file models=("ann=$1/seed-0/ann/ann.safetensors")
  shift
  for name; do
    file=$folder/seed-0/$name/snn.safetensors
    [ ! -e "$file" ] || models+=("$name=$file")
  done
  separator evaluate-images --config "$recipe/conf/test.yaml" --model "${models[@]}" --data.folder "$data" --out "$folder/results"
}
