# Stages 2 to 5, the same in every recipe for separation. Source it below common.sh.

# `check_conditions NAME=DIR...` ends the script unless each names a Kaldi data folder, and a condition that is not taken.
check_conditions() {
  local condition name taken=" open closed "
  for condition; do
    name=${condition%%=*}
    case "$condition" in
      [A-Za-z0-9]*=?*) ;;
      *) fail "--other takes NAME=DIR, not '$condition'" ;;
    esac
    case "$name" in *[!A-Za-z0-9_.-]*) fail "--other: a name has letters, digits, '_', '.' and '-', unlike '$name'" ;; esac
    case "$taken" in *" $name "*) fail "--other: the name $name is taken; choose another one" ;; esac
    [ -f "${condition#*=}/wav.scp" ] || fail "--other: ${condition#*=} is not a Kaldi data folder"
    taken+="$name "
  done
}

# `choose_network_options OPTION...` sets the array `network_options` to those of the options that tell of the network.
choose_network_options() {
  network_options=()
  while [ $# -gt 0 ]; do
    case "$1" in
      --network.*=*) network_options+=("$1") ;;
      --network.*)
        [ $# -gt 1 ] || fail "--train-options: $1 has no value"
        network_options+=("$1" "$2")
        shift
        ;;
    esac
    shift
  done
}

# `learn TRAIN DEV CLOSED OPEN [NAME=FOLDER...]` trains on TRAIN, with DEV for the dev loss, converts as --convert-configs
# says, whose files may be beside the script, scores all models on the folders of mixtures CLOSED, OPEN and those of further
# conditions, and makes examples. Options in the array `data_options`, if there is one, go to training and conversion. Beside a
# conversion's configuration NAME.yaml there may be NAME.tune.yaml, by which its stages are then tuned together, as NAME-tuned,
# and NAME.tandem.yaml, by which the analog network learns on as a spiking one, as NAME-tandem.
learn() {
  local train=$1 dev=$2 closed=$3 open=$4 out=$exp/$tag conversion name tuning tandem
  shift 4
  local data=(--data.train "$train" --data.dev "$dev" ${data_options[@]+"${data_options[@]}"}) models
  mkdir -p "$out"

  # shellcheck disable=SC2086 # options are words, here and below
  choose_network_options $train_options # which learns on in tandem, by other options than before
  # shellcheck disable=SC2086
  if runs 2 "training"; then
    separator train --config "$config" "${data[@]}" --network.sample_rate "$rate" --out "$out/ann" $train_options
  fi

  models=("ann=$out/ann/ann.safetensors")
  for conversion in $convert_configs; do
    conversion=$(found "$conversion")
    name=$(basename "$conversion" .yaml)
    models+=("$name=$out/$name/snn.safetensors")
    if runs 3 "conversion $name"; then
      # shellcheck disable=SC2086
      separator convert --config "$conversion" --init "$out/ann/ann.safetensors" "${data[@]}" --out "$out/$name" $convert_options
    fi
    tuning=${conversion%.yaml}.tune.yaml
    if [ -f "$tuning" ]; then
      models+=("$name-tuned=$out/$name-tuned/snn.safetensors")
      if runs 3 "tuning $name"; then
        # shellcheck disable=SC2086
        separator train --config "$tuning" --init "$out/$name/snn.safetensors" "${data[@]}" --out "$out/$name-tuned" $tune_options
      fi
    fi
    tandem=${conversion%.yaml}.tandem.yaml
    if [ -f "$tandem" ]; then
      models+=("$name-tandem=$out/$name-tandem/snn.safetensors")
      if runs 3 "tandem learning $name"; then
        # shellcheck disable=SC2086
        separator train --config "$config" --config "$tandem" --init "$out/ann/ann.safetensors" "${data[@]}" \
          --out "$out/$name-tandem" ${network_options[@]+"${network_options[@]}"} $tune_options
      fi
    fi
  done

  if runs 4 "scores"; then
    separator evaluate --mixtures "closed=$closed" "open=$open" "$@" --model "${models[@]}" --out "$out/results" --jobs "$jobs"
    cp "$out/results/RESULTS.md" "$out/results/"*.png "$out"
  fi

  if runs 5 "examples"; then
    separator examples --mixtures "open=$open" --model "${models[@]}" --scores "$out/results" --out "$out/examples"
  fi
  log "done; results are in $out"
}
