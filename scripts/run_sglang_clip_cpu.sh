#!/usr/bin/env bash
# run_sglang_clip_cpu.sh [flags of benchmark_clip_sglang.py]: the older tool's batch sweep. One launcher run for each batch size,
# with its logs in logs_batch_<n>; at the end a table, and the picture batch_size_throughput.png of batch size against samples/s.
# Environment: BATCH_SIZES, WORKERS, CORES, BASE_URL, MODEL, NUM_SAMPLES, PYTHON.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
cores=${CORES:-16-17}

logs=() unsound=0
for BATCH_SIZE in ${BATCH_SIZES:-1 2 4 8 16 32 64 100 128}; do
  logs+=("logs_batch_$BATCH_SIZE")
  status=0
  "$python" "$here/benchmark_clip_sglang_launcher.py" --workers "${WORKERS:-2}" --cores "$cores" \
    --script benchmark_clip_sglang.py --logs_dir "logs_batch_$BATCH_SIZE" -- \
    --base_url="${BASE_URL:-http://127.0.0.1:30000}" --model="${MODEL:-openai/clip-vit-base-patch32}" \
    --api=v1 --mode=multimodal --data_source=random --image_transport=data-url \
    --num_samples="${NUM_SAMPLES:-10000}" --batch_size="$BATCH_SIZE" --clip_variant base "$@" || status=$?
  case $status in
    0) ;;
    5) unsound=5 ;; # this machine was too busy for that point to be believed: the table says so, and the others stand
    2) [ -n "${CORES:-}" ] || echo "run_sglang_clip_cpu.sh: the workers' cores are $cores unless CORES names others" >&2; exit 2 ;;
    *) exit "$status" ;;
  esac
done
"$python" "$here/draw_batches.py" "${logs[@]}" --out batch_size_throughput.png
exit $unsound
