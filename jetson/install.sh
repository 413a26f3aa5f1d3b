#!/usr/bin/env bash
# Installs schanger-edge on a Jetson with JetPack 6.0 to 7.2, into a virtual environment that sees JetPack's TensorRT.
#
#   sudo jetson/install.sh [--dry-run] [--venv DIR] [--cuda cuda-python|pycuda] [--from WHEEL] [--extras A,B]
#                          [--service] [--reinstall]
#
#   --dry-run    print every step, change nothing
#   --venv       the environment (/opt/schanger-edge)
#   --cuda       the Python package that talks to CUDA (cuda-python); pycuda is compiled here and has no CUDA graphs
#   --from       a wheel of schanger-edge instead of this checkout
#   --extras     extras to install with it, such as bench,products
#   --service    also the watch service and the clean-up timer, not yet started
#   --reinstall  reinstall schanger-edge even if this version is installed
#
# Steps that are already done are reported and skipped, so it is safe to run again.
set -euo pipefail
# shellcheck source=jetson/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV=/opt/schanger-edge
CUDA=cuda-python
WHEEL=""
EXTRAS=""
SERVICE=""
REINSTALL=""
UNITS=(schanger-watch.service schanger-clean.service schanger-clean.timer)

main() {
  parse_options "$@"
  find_board
  say "board: $BOARD"
  say "JetPack: $JETPACK"
  choose_versions
  need_root install.sh
  install_packages
  make_environment
  hold_numpy
  install_schanger
  check
  [[ -z $SERVICE ]] || install_service
}

parse_options() {
  while (($#)); do
    case $1 in
      --dry-run) DRY_RUN=1 ;;
      --service) SERVICE=1 ;;
      --reinstall) REINSTALL=1 ;;
      --venv | --cuda | --from | --extras)
        [[ $# -ge 2 ]] || refuse "$1 needs a value: see install.sh --help."
        case $1 in
          --venv) VENV=$2 ;;
          --cuda) CUDA=$2 ;;
          --from) WHEEL=$2 ;;
          --extras) EXTRAS=$2 ;;
        esac
        shift
        ;;
      -h | --help) print_help "${BASH_SOURCE[0]}" && exit ;;
      *) refuse "unknown option $1: see install.sh --help." ;;
    esac
    shift
  done
  [[ $VENV == /* ]] || refuse "--venv must be an absolute path, not $VENV."
  [[ $CUDA == cuda-python || $CUDA == pycuda ]] || refuse "--cuda must be cuda-python or pycuda, not $CUDA."
  [[ -z $SERVICE || ${VENV%/} == /opt/schanger-edge ]] \
    || refuse "the units use /opt/schanger-edge: omit --venv with --service."
  [[ -z $WHEEL || -f $WHEEL ]] || refuse "$WHEEL does not exist: --from needs a wheel of schanger-edge."
  VENV=$ROOT${VENV%/}
}

# Sets PYTHON (its version), TENSORRT and CUDA_MAJOR of this JetPack, NUMPY, which its TensorRT was built for, and DLA,
# the package of a library that JetPack 6's TensorRT loads, used or not.
choose_versions() {
  NUMPY="" DLA=""
  case $L4T in
    [0-9].* | [0-2]?.* | 3[0-5].*) refuse "$(too_old)" ;;
    36.[0-2] | 36.[0-2].*) refuse "JetPack $JETPACK is a preview: install JetPack 6.0 or later, preferably 6.2." ;;
    36.3 | 36.3.*) PYTHON=3.10 TENSORRT=8.6 CUDA_MAJOR=12 NUMPY="numpy<2" ;;
    36.*) PYTHON=3.10 TENSORRT=10.3 CUDA_MAJOR=12 NUMPY="numpy<2" ;;
    38.*) PYTHON=3.12 TENSORRT=10.13 CUDA_MAJOR=13 ;;
    39.*) PYTHON=3.12 TENSORRT=10.16 CUDA_MAJOR=13 ;;
    *) refuse "JetPack $JETPACK: this version supports JetPack 6.0 to 7.2; use a newer version of schanger-edge." ;;
  esac
  [[ $L4T != 36.* ]] || DLA=nvidia-l4t-dla-compiler
  say "JetPack's versions: Python $PYTHON, TensorRT $TENSORRT, CUDA $CUDA_MAJOR"
}

too_old() {
  local way="flash JetPack 6.2 or later with NVIDIA's SDK Manager, which erases the board, and run this again."
  if [[ $BOARD != *Orin* ]]; then
    way="JetPack 6 does not support this board; use an Orin or Thor."
  fi
  say "JetPack ${JETPACK/ (*)/} is not supported, as its Python 3.8 cannot run schanger-edge, which needs 3.10, and its" \
    "TensorRT 8.5 cannot build the models: $way"
}

# TensorRT's Python module comes from JetPack's own archive alone.
install_packages() {
  local wanted=(python3-venv python3-libnvinfer ${DLA:+"$DLA"}) absent=() name
  if [[ $CUDA == pycuda ]]; then
    wanted+=(python3-dev g++)
    [[ -x $ROOT/usr/local/cuda/bin/nvcc ]] || wanted+=(nvidia-jetpack)
  fi
  for name in "${wanted[@]}"; do
    is_installed "$name" || absent+=("$name")
  done
  if ((${#absent[@]} == 0)); then
    say "already there: ${wanted[*]}"
    return
  fi
  step apt-get update
  step apt-get install -y --no-install-recommends "${absent[@]}"
}

is_installed() {
  # shellcheck disable=SC2016 # the dollar is dpkg-query's
  [[ $(dpkg-query --admindir="$ROOT/var/lib/dpkg" -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == "ii "* ]]
}

make_environment() {
  local config="$VENV/pyvenv.cfg" version
  if [[ ! -e $config ]]; then
    step "$ROOT/usr/bin/python3" -m venv --system-site-packages "$VENV"
    return
  fi
  version=$(sed -nE 's/^version *= *([0-9]+\.[0-9]+).*/\1/p' "$config")
  if [[ $version != "$PYTHON" ]]; then
    refuse "$VENV uses Python $version, but JetPack's is $PYTHON: remove it (rm -r $VENV), or choose another --venv."
  fi
  if ! grep -qE '^include-system-site-packages *= *true' "$config"; then
    refuse "$VENV cannot see JetPack's TensorRT, because it was created without --system-site-packages: remove it (rm -r $VENV)," \
      "or choose another --venv."
  fi
  say "already there: $VENV"
}

# So that no later `pip install` in the environment lifts numpy over what TensorRT's module was built for.
hold_numpy() {
  [[ -n $NUMPY ]] || return 0
  if [[ -e $VENV/constraints.txt && $(<"$VENV/constraints.txt") == "$NUMPY" && -e $VENV/pip.conf ]]; then
    say "already there: $NUMPY in $VENV/constraints.txt"
    return
  fi
  step write "$NUMPY" "$VENV/constraints.txt"
  step write $'[install]\nconstraint = '"$VENV/constraints.txt" "$VENV/pip.conf"
}

write() {
  printf '%s\n' "$1" >"$2.part"
  mv "$2.part" "$2"
}

install_schanger() {
  local version missing=()
  version=$(sed -nE 's/^__version__ = "(.*)"/\1/p' "$REPOSITORY/schanger_edge/_version.py")
  if [[ -n $REINSTALL || -n $WHEEL || -n $EXTRAS ]] || ! has_package "schanger_edge-$version"; then
    missing+=("${WHEEL:-$REPOSITORY}${EXTRAS:+[$EXTRAS]}")
  else
    say "already there: schanger-edge $version"
  fi
  if has_package "${CUDA/cuda-python/cuda_bindings}-*"; then
    say "already there: $CUDA"
  else
    missing+=("$(binding)")
  fi
  if [[ -n $SERVICE ]]; then
    has_package "watchdog-*" || missing+=("watchdog>=4")
    has_package "prometheus_client-*" || missing+=("prometheus-client>=0.17")
  fi
  ((${#missing[@]})) || return 0
  [[ $CUDA != pycuda ]] || export PATH="/usr/local/cuda/bin:$PATH"
  step "$VENV/bin/python" -m pip install "${missing[@]}"
  # pip leaves a wheel alone whose version is there already.
  [[ -z $WHEEL ]] || step "$VENV/bin/python" -m pip install --no-deps --force-reinstall "$WHEEL"
}

# The binding of CUDA 13 does not load on CUDA 12's driver.
binding() {
  case $CUDA/$CUDA_MAJOR in
    pycuda/*) say "pycuda" ;;
    */12) say "cuda-bindings>=12.9,<13" ;;
    */13) say "cuda-bindings>=13,<14" ;;
  esac
}

has_package() {
  compgen -G "$VENV/lib/python$PYTHON/site-packages/$1.dist-info" >/dev/null
}

check() {
  step "$VENV/bin/python" -c 'import numpy, tensorrt; print(tensorrt.__version__, numpy.__version__)'
  step "$VENV/bin/schanger-edge" doctor
}

install_service() {
  local unit
  copy_if_new schanger-edge.sysusers "$ROOT/etc/sysusers.d/schanger-edge.conf"
  copy_if_new schanger-edge.tmpfiles "$ROOT/etc/tmpfiles.d/schanger-edge.conf"
  if [[ -e $ROOT/etc/schanger-edge/watch.env ]]; then
    say "already there: $ROOT/etc/schanger-edge/watch.env, left as it is"
  else
    copy_if_new watch.env "$ROOT/etc/schanger-edge/watch.env"
  fi
  for unit in "${UNITS[@]}"; do
    copy_if_new "$unit" "$ROOT/etc/systemd/system/$unit"
  done
  step systemd-sysusers schanger-edge.conf
  step systemd-tmpfiles --create schanger-edge.conf
  step systemctl daemon-reload
  say "start it: systemctl enable --now schanger-watch.service schanger-clean.timer"
}

copy_if_new() {
  if cmp -s "$REPOSITORY/jetson/systemd/$1" "$2"; then
    say "already there: $2"
  else
    step install -D -m 644 "$REPOSITORY/jetson/systemd/$1" "$2"
  fi
}

main "$@"
