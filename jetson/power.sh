#!/usr/bin/env bash
# Power modes and clocks of a Jetson, and what a square kilometre costs in each mode.
#
#   jetson/power.sh show                              modes, the current one, clocks
#   sudo jetson/power.sh set MODE [--clocks]          MODE is a number or a name; --clocks also locks all clocks at their maximum
#   sudo jetson/power.sh sweep [--modes 0,1] [--clocks] [-o DIR] [--venv DIR] [--dry-run] [-- BENCH OPTIONS]
#
# sweep runs `schanger-edge bench BENCH OPTIONS` (by default on the bundled models, --device cuda) in each mode, sums up
# energy per km2 in DIR/power.json (power), and restores mode and clocks, also after a failure or Ctrl-C. Modes that are
# measured are not measured again, so repeating the command continues. Modes that need a restart are skipped and listed.
set -euo pipefail
# shellcheck source=jetson/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV=/opt/schanger-edge
OUT=power
CLOCKS=""
MODES=""
BENCH=(--device cuda)
SETTLE_SECONDS=${SCHANGER_SETTLE_SECONDS:-10}
KEPT_CLOCKS=""
OLD_MODE=""

main() {
  local command=${1:-}
  [[ -z $command ]] || shift
  case $command in
    show) show ;;
    set) set_mode "$@" ;;
    sweep) sweep "$@" ;;
    -h | --help) print_help "${BASH_SOURCE[0]}" ;;
    *) refuse "use show, set or sweep: see power.sh --help." ;;
  esac
}

need_tools() {
  command -v nvpmodel >/dev/null || refuse "nvpmodel not found: only a Jetson has power modes."
}

# `nvpmodel -q` prints the name of the mode and, in a line of its own, its number.
mode_now() {
  nvpmodel -q 2>/dev/null | grep -E '^[0-9]+$' | tail -n 1
}

# "ID NAME", a line each.
all_modes() {
  sed -nE 's/^< *POWER_MODEL +ID=([0-9]+) +NAME=([^ >]+).*/\1 \2/p' "$ROOT/etc/nvpmodel.conf"
}

show() {
  need_tools
  say "modes (ID NAME), * marks the current one:"
  local now id name
  now=$(mode_now || true)
  while read -r id name; do
    say "$([[ $id == "$now" ]] && echo '*' || echo ' ') $id $name"
  done < <(all_modes)
  if [[ $(id -u) -eq 0 ]]; then
    jetson_clocks --show
  else
    say "clocks: sudo jetson_clocks --show"
  fi
}

# Number of a mode that is given as number or name.
mode_id() {
  all_modes | awk -v wanted="$1" '($1 == wanted || $2 == wanted) && !found { print $1; found = 1 } END { exit !found }' \
    || refuse "there is no power mode $1 here: see power.sh show."
}

mode_name() {
  all_modes | awk -v wanted="$1" '$1 == wanted { print $2 }'
}

# No input, so that nvpmodel cannot be told to restart the board; whether the mode is in force says nvpmodel -q.
switch_to() {
  nvpmodel -m "$1" </dev/null >&2 || true
  [[ $(mode_now) == "$1" ]]
}

set_mode() {
  local mode=${1:-}
  [[ -n $mode ]] || refuse "no mode given: see power.sh show."
  [[ $# -eq 1 || ($# -eq 2 && $2 == --clocks) ]] || refuse "set takes a mode and --clocks: see power.sh --help."
  need_tools
  need_root "power.sh set"
  mode=$(mode_id "$mode")
  switch_to "$mode" || refuse "mode $mode needs a restart: run nvpmodel -m $mode and confirm the restart."
  say "mode $mode $(mode_name "$mode") is active"
  [[ $# -eq 1 ]] || jetson_clocks
}

sweep() {
  parse_sweep "$@"
  need_tools
  need_root "power.sh sweep"
  local modes=() mode skipped=()
  choose_modes
  OLD_MODE=$(mode_now) || refuse "nvpmodel -q does not report the current power mode, so it could not be restored."
  say "current: $OLD_MODE $(mode_name "$OLD_MODE"); to measure: ${modes[*]}"
  [[ -n $DRY_RUN || -x $VENV/bin/schanger-edge ]] || refuse "$VENV has no schanger-edge: run install.sh, or use --venv."
  step mkdir -p "$OUT"
  [[ -n $DRY_RUN ]] || keep_state
  for mode in "${modes[@]}"; do
    measure "$mode"
  done
  step "$VENV/bin/python" "$REPOSITORY/jetson/power_report.py" "$OUT"
  ((${#skipped[@]} == 0)) || say "not measured, because they need a restart: ${skipped[*]}. Restart into one, then continue with" \
    "power.sh sweep --modes ${skipped[0]}."
}

parse_sweep() {
  while (($#)); do
    case $1 in
      --dry-run) DRY_RUN=1 ;;
      --clocks) CLOCKS=1 ;;
      --modes | --venv | -o)
        [[ $# -ge 2 ]] || refuse "$1 needs a value: see power.sh --help."
        case $1 in
          --modes) MODES=$2 ;;
          --venv) VENV=$2 ;;
          -o) OUT=$2 ;;
        esac
        shift
        ;;
      --) shift && BENCH=("$@") && break ;;
      *) refuse "unknown option $1: see power.sh --help; options of bench come after --." ;;
    esac
    shift
  done
  VENV=$ROOT$VENV
}

# Sets modes.
choose_modes() {
  local wanted id
  mapfile -t modes < <(all_modes | cut -d ' ' -f 1)
  if [[ -n $MODES ]]; then
    modes=()
    IFS=, read -ra wanted <<<"$MODES"
    for id in "${wanted[@]}"; do
      id=$(mode_id "$id")
      modes+=("$id")
    done
  fi
  ((${#modes[@]})) || refuse "/etc/nvpmodel.conf lists no power modes: use --modes."
}

keep_state() {
  if [[ -n $CLOCKS ]]; then
    KEPT_CLOCKS=$(mktemp -u)
    jetson_clocks --store "$KEPT_CLOCKS"
  fi
  trap restore EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

restore() {
  local status=$?
  trap - EXIT
  if ! switch_to "$OLD_MODE"; then
    say "mode $OLD_MODE could not be restored: sudo nvpmodel -m $OLD_MODE" >&2
    status=1
  fi
  if [[ -n $KEPT_CLOCKS ]]; then
    jetson_clocks --restore "$KEPT_CLOCKS" || say "clocks could not be restored: restart the board." >&2
    rm -f "$KEPT_CLOCKS"
  fi
  say "restored: mode $OLD_MODE $(mode_name "$OLD_MODE")"
  exit "$status"
}

measure() {
  local folder
  folder="$OUT/$1-$(mode_name "$1")"
  if [[ -e $folder/bench.json ]]; then
    say "already there: $folder/bench.json"
    return
  fi
  if [[ -n $DRY_RUN ]]; then
    step nvpmodel -m "$1"
  elif ! switch_to "$1"; then
    skipped+=("$1")
    return
  fi
  [[ -z $CLOCKS ]] || step jetson_clocks
  step sleep "$SETTLE_SECONDS"
  step "$VENV/bin/schanger-edge" bench "${BENCH[@]}" -o "$folder"
}

main "$@"
