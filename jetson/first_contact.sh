#!/usr/bin/env bash
# The first time on an NVIDIA GPU: tries everything that was never run on hardware, and writes down what happens.
#
#   jetson/first_contact.sh [-o DIR] [--python FILE] [--minutes N] [--only STEP,STEP] [--dry-run]
#
#   -o          folder for results (first-contact); DIR.zip is made beside it, for you to attach to an issue
#   --python    the environment schanger-edge is installed in (/opt/schanger-edge/bin/python, else python3)
#   --minutes   no step begins after so many (15)
#   --only      these steps alone, such as machine,mix; what earlier runs left in DIR is used
#   --dry-run   print the steps and their time limits
#
# Each step runs by itself and is stopped at its time limit; one that fails or hangs does not end the others.
# Results are JSON and logs; models, plans and images stay in DIR and out of the zip. Exit code 1: a step failed.
set -euo pipefail
# shellcheck source=jetson/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

OUT=first-contact
PYTHON=""
MINUTES=15
ONLY=""
STEPS=$REPOSITORY/jetson/first_contact
export PYTHONUNBUFFERED=1 # so that the log of a step that hangs tells how far it came

main() {
  parse_options "$@"
  find_python
  local name seconds what failed=0 ends
  local list
  list=$("$PYTHON" "$STEPS" list) || refuse "$PYTHON does not import schanger-edge: use --python, or install it first."
  check_names "$list"
  [[ -n $DRY_RUN ]] || mkdir -p "$OUT"
  ends=$((SECONDS + MINUTES * 60))
  while IFS=$'\t' read -r name seconds what; do
    [[ -z $ONLY || ,$ONLY, == *",$name,"* ]] || continue
    if [[ -n $DRY_RUN ]]; then
      say "$name: $what (at most $seconds s)"
    elif ((SECONDS >= ends)); then
      record "$name" "not begun" 0 "$what"
    else
      try "$name" "$seconds" "$what" || failed=1
    fi
  done <<<"$list"
  [[ -z $DRY_RUN ]] || return 0
  say "results: $OUT, and in one file $("$PYTHON" "$STEPS" pack "$OUT"): please attach it to an issue (docs/first-contact.md)"
  return $failed
}

parse_options() {
  while (($#)); do
    case $1 in
      --dry-run) DRY_RUN=1 ;;
      -o | --python | --minutes | --only)
        [[ $# -ge 2 ]] || refuse "$1 needs a value: see first_contact.sh --help."
        case $1 in
          -o) OUT=${2%/} ;;
          --python) PYTHON=$2 ;;
          --minutes) MINUTES=$2 ;;
          --only) ONLY=$2 ;;
        esac
        shift
        ;;
      -h | --help) print_help "${BASH_SOURCE[0]}" && exit ;;
      *) refuse "unknown option $1: see first_contact.sh --help." ;;
    esac
    shift
  done
  [[ $MINUTES =~ ^[0-9]+$ ]] || refuse "--minutes takes a whole number, not $MINUTES."
}

find_python() {
  [[ -n $PYTHON ]] || { [[ -x /opt/schanger-edge/bin/python ]] && PYTHON=/opt/schanger-edge/bin/python; } || PYTHON=python3
  command -v "$PYTHON" >/dev/null || refuse "$PYTHON is no program: use --python."
}

check_names() {
  local name wanted
  IFS=, read -ra wanted <<<"$ONLY"
  for name in "${wanted[@]}"; do
    cut -f 1 <<<"$1" | grep -Fqx -- "$name" || refuse "there is no step $name: see first_contact.sh --dry-run."
  done
}

# record STEP STATE SECONDS WHAT
record() {
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$OUT/steps.tsv"
  printf '%-14s %-10s %4s s  %s\n' "$1" "$2" "$3" "$4"
}

# try STEP SECONDS WHAT; fails where the step fails
try() {
  local begin=$SECONDS status=0 state
  rm -f "$OUT/$1.json"
  timeout --kill-after=10 "$2" "$PYTHON" "$STEPS" "$1" "$OUT" >"$OUT/$1.log" 2>&1 </dev/null || status=$?
  case $status in
    0) state="done" ;;
    3) state=skipped ;;
    124 | 137) state="timed out" ;;
    *) state=failed ;;
  esac
  record "$1" "$state" $((SECONDS - begin)) "$3$([[ $state == "done" ]] || printf ': %s' "$(tail -n 1 "$OUT/$1.log")")"
  [[ $state == "done" || $state == skipped ]]
}

main "$@"
