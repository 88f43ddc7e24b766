# What the recipes share: log lines, stages, and the environment. Source it below parse_options.sh.

log() {
  printf '%s  %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$*" >&2
}

fail() {
  printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# `runs N TEXT` tells whether stage N is among those asked for, and logs TEXT if so.
runs() {
  [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ] || return 1
  log "stage $1: $2"
}

# `require_number NAME...` ends the script unless each variable holds a whole number.
require_number() {
  local name
  for name; do
    case "${!name}" in
      '' | *[!0-9]*) fail "--${name//_/-} must be a whole number, not '${!name}'" ;;
    esac
  done
}

# `choose_training_data TRAIN MORE ROOMS NOISE` sets `train` to a folder, or to a list of it and of those in MORE, and the array
# `data_options` to the options of rooms and noise, if they are given.
choose_training_data() {
  local folder
  train=$1
  for folder in $2; do
    [ -f "$folder/wav.scp" ] || fail "--more: $folder is not a Kaldi data folder"
    train+=,$folder
  done
  [ -z "$2" ] || train="[$train]"
  data_options=(${3:+--data.rooms "$3"} ${4:+--data.noise "$4"})
}

# `found FILE` writes the path of a file, which may be beside the script, in the folder `recipe`.
found() {
  if [ -e "$1" ]; then echo "$1"; else echo "$recipe/$1"; fi
}

# `choose_conditions MIXTURES NAME...` sets the array `conditions` to run.sh's sets of mixtures in that folder: open, closed, or others.
choose_conditions() {
  local mixtures=$1 name folder
  shift
  conditions=()
  for name; do
    case $name in
      open) folder=$mixtures/test ;;
      closed) folder=$mixtures/dev ;;
      *) folder=$mixtures/other-$name ;;
    esac
    [ -f "$folder/mixtures.tsv" ] || fail "there are no mixtures in $folder; stage 1 of run.sh makes them"
    conditions+=("$name=$folder")
  done
}

# Makes the command `separator` available: the one of the environment that is active, else that of the project's own .venv.
activate() {
  command -v separator >/dev/null && return
  bash "$project/recipes/utils/install.sh" "$project/.venv" train,score
  PATH=$project/.venv/bin:$PATH
}

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
