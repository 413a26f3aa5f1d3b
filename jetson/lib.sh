# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by the scripts that source it
# What the scripts of this folder share; they source it.
#
# SCHANGER_ROOT stands for /, so that tests can run against a made-up board.

ROOT=${SCHANGER_ROOT:-}
ROOT=${ROOT%/}
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DRY_RUN=${DRY_RUN:-}

# What cannot go on is one sentence, and exit code 2.
refuse() {
  printf '%s\n' "$*" >&2
  exit 2
}

say() {
  printf '%s\n' "$*"
}

# The comments at the head of a script are its help.
print_help() {
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$1"
}

# A step is printed, and with --dry-run no more than that.
step() {
  local word line="+"
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_.,:=@%+/-]+$ ]] || word=${word@Q}
    line+=" $word"
  done
  say "$line"
  [[ -n $DRY_RUN ]] || "$@"
}

need_root() {
  [[ -n $DRY_RUN || $(id -u) -eq 0 ]] || refuse "$1 needs root: run it with sudo, or preview it with --dry-run."
}

# Sets L4T (such as 36.4.3), BOARD and JETPACK (in the words of schanger-edge doctor); refuses what is not a Jetson.
find_board() {
  local release="$ROOT/etc/nv_tegra_release" model="$ROOT/proc/device-tree/model"
  BOARD=""
  [[ ! -r $model ]] || BOARD=$(tr -d '\0' <"$model")
  if [[ ! -r $release ]]; then
    refuse "${BOARD:-This machine} is not a Jetson with Jetson Linux (no /etc/nv_tegra_release): install with" \
      "pip install $REPOSITORY as on any other machine, see README.md."
  fi
  BOARD=${BOARD:-Jetson}
  L4T=$(sed -nE 's/.*R([0-9]+).*REVISION: ([0-9.]+).*/\1.\2/p' "$release" | head -n 1)
  JETPACK=$(jetpack_in_words)
}

jetpack_in_words() {
  python3 -c '
import pathlib, runpy, sys
board, root = runpy.run_path(sys.argv[1]), pathlib.Path(sys.argv[2])
texts = (board["text_of"](root / name) for name in ("etc/nv_tegra_release", "var/lib/dpkg/status"))
print(board["jetpack"](*texts))
' "$REPOSITORY/schanger_edge/host/board.py" "$ROOT/"
}

# Whole megabytes of memory, shared by CPU and GPU.
board_memory() {
  awk '/^MemTotal:/ { print int($2 * 1024 / 1e6) }' "$ROOT/proc/meminfo"
}
