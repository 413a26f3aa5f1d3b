#!/usr/bin/env bash
# Makes one virtual environment per tool, beside this file; keeps those that are there. What cannot be installed is
# named with the reason, and compare.py takes it from there. `PYTHON=python3.12 ./make_environments.sh` for another one.
set -euo pipefail
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}

# make NAME REQUIREMENT... makes .venv-NAME with the shared versions; after `--` come packages without their dependencies.
make() {
  local name=$1 folder=.venv-$1 with=() without=() target=with word
  shift
  for word in "$@"; do
    if [ "$word" = -- ]; then target=without
    elif [ $target = with ]; then with+=("$word")
    else without+=("$word"); fi
  done
  if [ -e "$folder/ready" ]; then echo "$name: is there"; return; fi
  rm -rf "$folder"
  "$PYTHON" -m venv "$folder"
  if install "$folder" -c constraints.txt "${with[@]}" &&
     { [ ${#without[@]} = 0 ] || install "$folder" --no-deps "${without[@]}"; }; then
    touch "$folder/ready"
    echo "$name: made"
  else
    { grep -o '^ERROR: .*' "$folder/log" || echo "ERROR: pip failed, see $folder/log"; } |
      tail -n 1 | sed 's/^ERROR: //' | tee "$folder/failed" | sed "s/^/$name: cannot be installed: /"
  fi
}

install() {
  "$1/bin/python" -m pip install --disable-pip-version-check --quiet "${@:2}" >"$1/log" 2>&1
}

make ours -e ../..
make tiler tiler==0.6.0 onnxruntime rasterio
make geodeep geodeep==0.9.13
make geodeep-scipy geodeep==0.9.13 scipy==1.17.1
# geoai imports what it needs when it is needed; its ONNX part needs neither torch nor the rest of its 32 requirements.
make geoai onnx==1.23.2 onnxruntime rasterio geopandas==1.2.0 pillow==13.0.0 shapely==2.2.0 tqdm==4.70.1 \
  opencv-python-headless==5.0.0.93 -- geoai-py==0.40.1
make paddlers paddlers==1.0b0
