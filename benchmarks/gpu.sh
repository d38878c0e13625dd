#!/usr/bin/env bash
# Every benchmark and the GPU tests on one CUDA GPU, within nine minutes, from a machine with torch, torchvision, timm and
# this checkout; writes benchmarks/results/*_cuda.md:
#
#     benchmarks/gpu.sh PHOTOS DATA [WHEELS]
#
# PHOTOS is a flat folder of photos, DATA what `senet-viz collect` takes (many small pictures). What else the benchmarks
# import is installed from the folder WHEELS where the machine has no network (`pip download -d WHEELS …` fills one); what
# cannot be had is told, and what needs it left out. A step that fails or takes too long does not keep the others.
set -uo pipefail
if [ $# -lt 2 ]; then sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; fi
photos=$(realpath "$1") data=$(realpath "$2") wheels=${3:+$(realpath "$3")}
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-python3}
results=benchmarks/results
log=$(mktemp -d)
"$python" -c 'import torch; assert torch.cuda.is_available()' || { echo "torch finds no CUDA GPU"; exit 1; }

missing=$("$python" - <<'PYTHON'
from importlib.util import find_spec
names = {"safetensors": "safetensors", "filelock": "filelock", "scipy": "scipy", "pandas": "pandas", "pyarrow": "pyarrow",
         "fsspec": "fsspec", "plotly": "plotly", "captum": "captum", "tqdm": "tqdm", "lazy_loader": "lazy_loader",
         "pytest": "pytest", "torchcam": "torchcam", "ttach": "ttach", "pytorch_grad_cam": "grad-cam"}
print(*(package for module, package in names.items() if find_spec(module) is None))
PYTHON
)
for package in $missing; do  # one by one, so that one that cannot be had keeps no other
    timeout 60 "$python" -m pip install --quiet --no-deps ${wheels:+--no-index --find-links "$wheels"} "$package" ||
        echo "$package cannot be installed"
done

failed=0
step() {  # NAME SECONDS COMMAND…: run within so many seconds, and say how it went
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    if timeout "$limit" "$@" >"$log/$name.out" 2>"$log/$name.err"; then
        echo "$name: $((SECONDS - start)) s"
    else
        echo "$name: failed or not done in $limit s; its last lines:"
        tail -n 5 "$log/$name.err" "$log/$name.out"
        failed=1
        return 1
    fi
}
keep() { cp "$log/$1.out" "$results/$1_cuda.md"; }  # what a benchmark printed

step tests 100 "$python" -m pytest -q -p no:cacheprovider tests/test_gpu.py && tail -n 1 "$log/tests.out"
step cam_speed 60 "$python" benchmarks/cam_speed.py --device cuda
# as many batches are skipped as so many processes decode ahead
step collect_speed 210 "$python" benchmarks/collect_speed.py "$photos" "$data" --device cuda --workers "$(nproc)" \
    --batch-size 64 --shard 512 --skip $((2 * $(nproc) + 2)) --copies 300 --speeds fp32 bf16 "bf16 compiled" \
    --repeats 1 --pictures 2000 10000 && keep collect_speed
step dimension_speed 110 "$python" benchmarks/dimension_speed.py "$photos" "$data" --device cuda --repeats 2 &&
    keep dimension_speed
step sweep_speed 30 "$python" benchmarks/sweep_speed.py --device cuda && keep sweep_speed
step what_if_speed 30 "$python" benchmarks/what_if_speed.py --device cuda && keep what_if_speed
echo "all: $SECONDS s"
exit $failed
