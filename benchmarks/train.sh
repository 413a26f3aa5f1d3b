#!/usr/bin/env bash
# Trains the bundled model: benchmarks/train.sh DATA FOLDER [START]
# DATA holds levir, levir_extra, hotosm, banepa, inria_like, sat_cn and mixed_cities; FOLDER gets the rendered scenes, the
# pairs, the prior and nine runs; the weights to bundle, a mean of the last four, are FOLDER/bundle.pth. START is what the
# first run begins with, a checkpoint or a name; without it the semantic prior is trained first, from random weights.
# Some ten hours on one thread of a CPU with AVX-512 BF16; elsewhere set AMP=none.
# With a GPU set DEVICE=cuda AMP=fp16 and LONGER=20, for twenty times the epochs.
set -euo pipefail
data=$(realpath "$1")
folder=$2
start=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
longer=${LONGER:-1}
mkdir -p "$folder"
cd "$folder"

"$python" "$here/synthetic_tree.py" scenes train --count 320 --seed 20000
"$python" "$here/synthetic_tree.py" more train --count 150 --seed 500000
"$python" "$here/synthetic_tree.py" others train --count 250 --seed 900000
"$python" "$here/synthetic_tree.py" cities train --count 110 --seed 700000 --city
ln -sfn "$data/levir" levir
mkdir -p extra && ln -sfn "$data/levir_extra" extra/train

# name, which files, pairs of 256 pixels, mosaics of 2 x 2 pairs, seed
while read -r name files single mosaics seed; do
  for root in "pairs $single 1" "mosaics $mosaics 2"; do
    read -r tree count side <<<"$root"
    "$python" "$here/single_date_pairs.py" "$tree" train --single "$data/$name" --glob "$files" \
      --count "$count" --mosaic "$side" --seed "$((seed + side))"
  done
done <<'TABLE'
hotosm *-19.* 200 50 10
hotosm *-20.* 100 20 20
banepa * 60 15 30
inria_like * 200 50 40
sat_cn * 60 15 50
mixed_cities whu* 60 12 60
TABLE

echo '{"mean": [0.4, 0.39, 0.34], "std": [0.18, 0.17, 0.16]}' >normalization.json
schanger_edge() {
  "$python" -m schanger_edge "$@" --normalization normalization.json --val none --amp "${AMP:-bf16}" \
    --device "${DEVICE:-cpu}" --threads 1 --drop 0 --ema-every 1 --max-norm 5 --cast 1 --gsd 0.5
}
train() {
  schanger_edge train "$@"
}

# The semantic prior: what a roof is, from single dates with all their roofs, at about 0.5 m.
if [[ -z $start ]]; then
  "$python" "$here/synthetic_tree.py" roofs scenes --count 220 --seed 1000000 --single
  "$python" "$here/synthetic_tree.py" roofs cities --count 60 --seed 1100000 --single --city
  schanger_edge pretrain "$data/hotosm,repeat=3,scale=0.8:1.6,glob=*-19.*" "$data/hotosm,scale=1.4:2.0,glob=*-20.*" \
    "$data/banepa,repeat=6,scale=2.2:4.0" "$data/inria_like,repeat=10,scale=0.8:1.5" \
    "$data/sat_cn,repeat=10,scale=0.7:1.2" "$data/mixed_cities,repeat=10,scale=0.8:1.6,glob=whu*" \
    roofs/scenes,repeat=6,scale=0.75:1.5 roofs/cities,repeat=4,scale=0.75:1.5 -o prior \
    --epochs "$((7 * longer))" --warmup-epochs 0.3 --batch 8 --tile 128 --rate 1e-3 --ema 0.998 --focus 0.3
  start=prior/last.pth
fi

# Tiles of 128, then of 256, the size the model is used with; the third run looks at LEVIR-CD for nearly half the time.
train levir,repeat=150,scale=0.7:1.4 extra,repeat=20,scale=0.8:1.3 scenes,repeat=2,scale=0.7:1.4 pairs,scale=1.0:1.7 \
  -o run1 --init "$start" --epochs "$((4 * longer))" --warmup-epochs 0.15 --batch 8 --tile 128 --rate 4e-4 --ema 0.995 \
  --focus 0.2 --jitter 0.7 --negatives 0.12
train levir,repeat=40,scale=0.75:1.3 extra,repeat=5 scenes,scale=0.75:1.3 mosaics,scale=1.0:2.0 \
  -o run2 --init run1/last.pth --epochs "$((3 * longer))" --warmup-epochs 0.1 --batch 4 --tile 256 --rate 2.5e-4 \
  --ema 0.99 --focus 0.15 --jitter 0.7 --negatives 0.12
train levir,repeat=45,scale=0.75:1.3 extra,repeat=3 "scenes,scale=0.8:1.3,glob=20[01]*" more,scale=0.8:1.3 \
  "mosaics,scale=1.0:2.0,glob=*[05].png" \
  -o run3 --init run2/last.pth --epochs "$longer" --warmup-epochs 0.06 --batch 4 --tile 256 --rate 1.5e-4 \
  --ema 0.98 --jitter 0.7 --negatives 0.15
# The long ones: the third with light further apart and more pairs in which nothing changed.
while read -r run last epochs rate ema jitter negatives; do
  train levir,repeat=45,scale=0.75:1.3 extra,repeat=5 scenes,scale=0.75:1.3 more,scale=0.75:1.3 mosaics,scale=1.0:2.0 \
    -o "$run" --init "$last/last.pth" --epochs "$((epochs * longer))" --warmup-epochs 0.2 --batch 4 --tile 256 \
    --rate "$rate" --ema "$ema" --focus 0.1 --jitter "$jitter" --negatives "$negatives"
done <<'TABLE'
run4 run3 7 4e-4 0.995 0.7 0.12
run5 run4 6 4e-4 0.997 0.7 0.20
run6 run5 6 3e-4 0.997 0.9 0.25
TABLE
# Tiles of 384 show large roofs whole, and fly with tiles of 512; cities show high buildings from two sides, which is no
# change. The second of these runs looks at LEVIR-CD for two thirds of the time; the third goes on from the mean of the
# weights so far, with more scenes, and the mean with that is what to bundle.
large() {  # RUN START REPEAT EPOCHS RATE EMA NEGATIVES, and more sources
  train "levir,repeat=$3,scale=0.75:1.3" scenes,scale=0.75:1.3 more,scale=0.75:1.7 cities,scale=0.75:1.3 \
    mosaics,scale=1.0:2.0 "${@:8}" -o "$1" --init "$2" --epochs "$(($4 * longer))" --warmup-epochs 0.05 --batch 2 \
    --tile 384 --rate "$5" --ema "$6" --focus 0.1 --jitter 0.9 --negatives "$7"
}
large run7 run6/last.pth 52 2 3e-4 0.997 0.3
large run8 run7/last.pth 150 1 4e-4 0.998 0.2
"$python" "$here/average_weights.py" run6/last.pth run6/last.pth run7/last.pth run8/last.pth -o mean.pth
large run9 mean.pth 150 1 4e-4 0.998 0.2 others,scale=0.75:1.7
"$python" "$here/average_weights.py" mean.pth run9/last.pth -o bundle.pth
