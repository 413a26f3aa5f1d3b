#!/usr/bin/env bash
# Proves that every dependency of the runtime has a wheel for the Pythons of JetPack 6 and 7 and of servers.
#
#   jetson/wheels.sh [PYTHON/ARCHITECTURE...]
#
# PYTHON/ARCHITECTURE is 3.10/aarch64, 3.10/x86_64, 3.12/aarch64 or 3.12/x86_64; all four without. It queries the package
# index and downloads only metadata. It needs uv (pip install uv), which resolves for other machines than this.
set -euo pipefail
# shellcheck source=jetson/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
  if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    print_help "${BASH_SOURCE[0]}"
    exit
  fi
  command -v uv >/dev/null || refuse "uv not found: pip install uv."
  local targets=("$@") target
  ((${#targets[@]})) || targets=(3.10/aarch64 3.10/x86_64 3.12/aarch64 3.12/x86_64)
  for target in "${targets[@]}"; do
    resolve "${target%/*}" "${target#*/}"
  done
}

# With what install.sh adds on a Jetson. Ubuntu 22.04 has glibc 2.35, 24.04 has 2.39.
resolve() {
  local glibc added found
  case $1 in
    3.10) glibc=2_35 added=$'numpy<2\ncuda-bindings>=12.9,<13\nwatchdog>=4\nprometheus-client>=0.17' ;;
    3.12) glibc=2_39 added=$'cuda-bindings>=13,<14\nwatchdog>=4\nprometheus-client>=0.17' ;;
    *) refuse "Python is 3.10 (JetPack 6) or 3.12 (JetPack 7), not $1." ;;
  esac
  [[ $2 == aarch64 || $2 == x86_64 ]] || refuse "the architecture is aarch64 or x86_64, not $2."
  found=$(uv pip compile --quiet --no-header --no-annotate --only-binary :all: --python-version "$1" \
    --python-platform "$2-manylinux_$glibc" "$REPOSITORY/pyproject.toml" - <<<"$added") \
    || refuse "not every dependency has a wheel for Python $1 on $2, see above."
  say "Python $1, $2: $(wc -l <<<"$found") wheels"
  say "${found//$'\n'/ }"
}

main "$@"
