#!/usr/bin/env bash
# Proves that the runtime and all its dependencies work on 64-bit Arm: a Debian root for arm64, in which user-mode
# emulation installs the wheel, compares the native engine with ONNX Runtime and runs a small demo pair. Slow; run it
# before a release.
#
#   sudo jetson/emulated_arm64.sh [-d DIR] [--side N] [--keep]
#
#   -d       folder for the root, some 2 GB (a temporary one); finished stages in it are not repeated
#   --side   pixels of the demo pair's side (512)
#   --keep   leave the root there
#
# Needs Linux and the packages debootstrap and qemu-user-static. SCHANGER_MIRROR is a Debian mirror, PIP_INDEX_URL and
# the like reach pip inside. Writes benchmarks/results/arm64.json, also where a step failed.
set -euo pipefail
# shellcheck source=jetson/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SUITE=bookworm # Python 3.11
MIRROR=${SCHANGER_MIRROR:-http://deb.debian.org/debian}
CERTIFICATES=etc/ssl/certs/ca-certificates.crt
BINFMT=/proc/sys/fs/binfmt_misc
RESULT=$REPOSITORY/benchmarks/results/arm64.json
STAGES=(fetch_packages register_emulator unpack_packages install_wheel compare_engines run_demo)
TREE=""
SIDE=512
KEEP=""
REGISTERED=""
STAGE=""

main() {
  parse_options "$@"
  need_root emulated_arm64.sh
  need_programs
  prepare
  for STAGE in "${STAGES[@]}"; do
    say "$STAGE"
    "$STAGE"
  done
  STAGE=""
}

parse_options() {
  while (($#)); do
    case $1 in
      -d | --side)
        [[ $# -ge 2 ]] || refuse "$1 needs a value: see emulated_arm64.sh --help."
        if [[ $1 == -d ]]; then TREE=$2; else SIDE=$2; fi
        shift
        ;;
      --keep) KEEP=1 ;;
      -h | --help) print_help "${BASH_SOURCE[0]}" && exit ;;
      *) refuse "unknown option $1: see emulated_arm64.sh --help." ;;
    esac
    shift
  done
}

need_programs() {
  local name
  for name in debootstrap qemu-aarch64-static; do
    command -v "$name" >/dev/null || refuse "$name not found: apt-get install debootstrap qemu-user-static."
  done
}

prepare() {
  if [[ -n $TREE ]]; then
    KEEP=1
    mkdir -p "$TREE"
    TREE=$(cd "$TREE" && pwd)
  else
    TREE=$(mktemp -d)
  fi
  LOG=$TREE.log
  : >"$LOG"
  BEGAN=$SECONDS
  trap finish EXIT
}

finish() {
  local status=$? mounted
  trap - EXIT
  write_result "$status"
  [[ -z $REGISTERED ]] || echo -1 >"$BINFMT/qemu-aarch64"
  for mounted in proc sys dev; do
    ! mountpoint -q "$TREE/$mounted" || umount "$TREE/$mounted"
  done
  [[ -n $KEEP ]] || rm -rf --one-file-system "$TREE"
  if ((status)); then
    tail -n 15 "$LOG" >&2
    say "failed at $STAGE; the log is $LOG" >&2
  fi
  say "result: $RESULT"
  exit "$status"
}

logged() {
  "$@" >>"$LOG" 2>&1
}

inside() {
  logged chroot "$TREE" /usr/bin/env HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin PIP_CERT="/$CERTIFICATES" "$@"
}

fetch_packages() {
  [[ ! -e $TREE/.fetched ]] || return 0
  logged debootstrap --arch=arm64 --foreign --variant=minbase \
    --include=ca-certificates,python3,python3-venv "$SUITE" "$TREE" "$MIRROR"
  touch "$TREE/.fetched"
}

# The F flag opens the emulator now, so that none must lie in the root.
register_emulator() {
  local entry
  [[ -e $BINFMT/register ]] || mount -t binfmt_misc binfmt_misc "$BINFMT"
  [[ ! -e $BINFMT/qemu-aarch64 ]] || return 0
  entry=$(</usr/lib/binfmt.d/qemu-aarch64.conf)
  printf '%s' "${entry%:*:*}:$(command -v qemu-aarch64-static):F" >"$BINFMT/register"
  REGISTERED=1
}

unpack_packages() {
  [[ -e $TREE/.unpacked ]] || inside /debootstrap/debootstrap --second-stage
  touch "$TREE/.unpacked"
  mountpoint -q "$TREE/proc" || mount -t proc proc "$TREE/proc"
  mountpoint -q "$TREE/dev" || mount --bind /dev "$TREE/dev"
  cp -L /etc/resolv.conf "$TREE/etc/resolv.conf"
}

install_wheel() {
  local wheels="$TREE/opt/wheels" wheel
  rm -rf "$wheels"
  logged env SCHANGER_EDGE_TARGET=aarch64-linux python3 -m pip wheel --no-deps --wheel-dir "$wheels" "$REPOSITORY"
  wheel=$(basename "$wheels"/schanger_edge-*.whl)
  # Certificates of a company's own, which pip inside needs as pip outside does.
  [[ ! -e /$CERTIFICATES ]] || install -D -m 644 "/$CERTIFICATES" "$TREE/$CERTIFICATES"
  inside python3 -m venv /opt/venv
  inside /opt/venv/bin/python -m pip install --only-binary :all: --no-cache-dir "/opt/wheels/$wheel"
}

# The trial that `--device auto` makes; what it finds is remembered for the demo.
compare_engines() {
  inside /opt/venv/bin/schanger-edge doctor
  inside /opt/venv/bin/python - <<'PY'
from schanger_edge.model.bundled import model_path
from schanger_edge.model.file import read_model
from schanger_edge.sessions import open_session
from schanger_edge.sessions.native.engine import ENGINE
from schanger_edge.sessions.trial import verdict

model = read_model(model_path("schanger-small"))
with open_session(model, "cpu") as reference, open_session(model, ENGINE.main_device) as own:
    found = verdict(reference, own, ENGINE.words)
    print(f"parity: {own.device}: {found.difference:.2g}, in {found.ratio:.2f} of the time of {reference.device}")
assert "neon" in own.device
assert found.difference <= ENGINE.parity
PY
}

run_demo() {
  rm -rf "$TREE/opt/demo"
  inside env --chdir=/opt /opt/venv/bin/schanger-edge demo --side "$SIDE" -o demo
}

write_result() {
  python3 - "$1" "$STAGE" "$((SECONDS - BEGAN))" "$SIDE" "$LOG" >"$RESULT.part" <<'PY'
import datetime, json, pathlib, platform, re, subprocess, sys

status, stage, seconds, side, log = sys.argv[1:]
text = pathlib.Path(log).read_text(errors="replace")
parity = re.search(r"^parity: (.*): (\S+), ", text, re.M)
score = re.search(r"against the exact truth: .*?F1 ([\d.]+)", text, re.I)
installed = [line for line in text.splitlines() if line.startswith("Successfully installed")]
emulator = subprocess.run(["qemu-aarch64-static", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
print(json.dumps({
    "method": "jetson/emulated_arm64.sh: Debian bookworm for arm64 in user-mode emulation; the wheel installed by pip, "
    "binary wheels only, the native engine compared with ONNX Runtime on a pair of tiles, and the demo's pair rendered, "
    "run and scored. It proves that things work, not how fast.",
    "date": datetime.date.today().isoformat(), "passed": status == "0", "failed_at": stage or None,
    "host": platform.machine(), "emulator": emulator, "seconds": int(seconds), "side": int(side),
    "engine": parity[1] if parity else None, "largest_difference": float(parity[2]) if parity else None,
    "f1": float(score[1]) / 100 if score else None, "install_log_end": installed[-1:],
    "log_end": text.splitlines()[-15:],
}, indent=2))
PY
  mv "$RESULT.part" "$RESULT"
}

main "$@"
