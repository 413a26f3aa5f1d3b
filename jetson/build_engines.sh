#!/usr/bin/env bash
# Builds the TensorRT plans of models for this board, with as much memory for the builder as the board can spare.
#
#   jetson/build_engines.sh [--dry-run] [--venv DIR] [-o DIR] [--check PAIRS] [MODEL...]
#
#   MODEL       .onnx files or bundled models (schanger-small-fp16, the one for boards)
#   -o, --output  folder for MODEL.plan (your engine cache, where `run` looks)
#   --check     compare each plan with its model on these pairs, as `schanger-edge compare --data`; needs -o
#   --venv      where install.sh put schanger-edge (/opt/schanger-edge)
#   --dry-run   print every step, change nothing
#
# An existing plan that fits is kept. The watch service has a cache of its own and builds at its first start.
set -euo pipefail
# shellcheck source=jetson/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV=/opt/schanger-edge
OUT=""
PAIRS=""
MODELS=()

main() {
  parse_options "$@"
  find_board
  local memory
  memory=$(board_memory)
  say "board: $BOARD, JetPack $JETPACK, $memory MB of memory"
  choose_options "$memory"
  [[ -n $DRY_RUN || -x $VENV/bin/schanger-edge ]] || refuse "$VENV has no schanger-edge: run install.sh, or use --venv."
  [[ -z $OUT ]] || step mkdir -p "$OUT"
  local model
  for model in "${MODELS[@]}"; do
    build "$model"
  done
}

parse_options() {
  while (($#)); do
    case $1 in
      --dry-run) DRY_RUN=1 ;;
      --venv | -o | --output | --out | --check)
        [[ $# -ge 2 ]] || refuse "$1 needs a value: see build_engines.sh --help."
        case $1 in
          --venv) VENV=$2 ;;
          -o | --output) OUT=$2 ;;
          --out) OUT=$2 && echo "--out is now --output; the old name is taken for the last time in this version." >&2 ;;
          --check) PAIRS=$2 ;;
        esac
        shift
        ;;
      -h | --help) print_help "${BASH_SOURCE[0]}" && exit ;;
      -*) refuse "unknown option $1: see build_engines.sh --help." ;;
      *) MODELS+=("$1") ;;
    esac
    shift
  done
  ((${#MODELS[@]})) || MODELS=(schanger-small-fp16)
  [[ -z $PAIRS || -n $OUT ]] || refuse "--check needs -o, because compare needs the plan's file name."
  VENV=$ROOT$VENV
}

# Builder and CPU share the memory: on small boards one fixed batch, few tactics.
choose_options() {
  if (($1 < 5000)); then
    OPTIONS=(--batch 1 --optimization-level 2)
  elif (($1 < 10000)); then
    OPTIONS=(--batch 1 --optimization-level 3)
  else
    OPTIONS=()
  fi
}

build() {
  local name plan
  name=$(basename "$1" .onnx)
  if [[ -z $OUT ]]; then
    step "$VENV/bin/schanger-edge" build "$1" "${OPTIONS[@]}"
    return
  fi
  plan=$OUT/$name.plan
  step "$VENV/bin/schanger-edge" build "$1" "${OPTIONS[@]}" --timing-cache "$OUT/timing.cache" -o "$plan"
  [[ -z $PAIRS ]] || step "$VENV/bin/schanger-edge" compare "$1" "$plan" --data "$PAIRS" -o "$OUT/$name.compare.json"
}

main "$@"
