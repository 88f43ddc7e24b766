# Turns `--name value` or `--name=value` into the shell variable `name`; source it below the defaults of a script.
#
# Only variables that the script has set can be given; dashes in names stand for underscores. A variable whose default is
# true or false takes only these. `--help` prints the comment at the head of the script. `--` ends the options; what is left
# stays in "$@". An unknown option, or one without its value, ends the script with status 1.

parse_options_fail() {
  printf '%s: error: %s (--help tells more)\n' "$(basename "$0")" "$1" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h)
      sed -n '2,${/^#/!q; s/^# \{0,1\}//; p;}' "$0"
      exit 0
      ;;
    --)
      shift
      break
      ;;
    --?*)
      parse_options_argument=${1#--}
      parse_options_name=${parse_options_argument%%=*}
      parse_options_name=${parse_options_name//-/_}
      case "$parse_options_name" in
        [0-9]* | *[!A-Za-z0-9_]* | parse_options_*) parse_options_fail "unknown option --${parse_options_argument%%=*}" ;;
      esac
      # Environment variables are no options: only what the script itself has set, without exporting it.
      case "$(declare -p "$parse_options_name" 2>/dev/null)" in
        'declare -- '*) ;;
        *) parse_options_fail "unknown option --${parse_options_argument%%=*}" ;;
      esac
      case "$1" in
        *=*) parse_options_value=${parse_options_argument#*=} ;;
        *)
          [ $# -gt 1 ] || parse_options_fail "$1 needs a value"
          parse_options_value=$2
          shift
          ;;
      esac
      case "${!parse_options_name}:$parse_options_value" in
        true:true | true:false | false:true | false:false) ;;
        true:* | false:*) parse_options_fail "--${parse_options_argument%%=*} is true or false, not $parse_options_value" ;;
      esac
      printf -v "$parse_options_name" %s "$parse_options_value"
      shift
      ;;
    -?*) parse_options_fail "unknown option $1" ;;
    *) break ;;
  esac
done
unset "${!parse_options_@}"
