#!/usr/bin/env bash
# run_sglang_clip_val.sh [flags of benchmark_clip_sglang.py]: the older tool's validation run on Flickr8k.
# Environment: FLICKR_IMAGES_DIR, FLICKR_CAPTIONS_FILE, BASE_URL, MODEL, PYTHON.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3

exec "$python" "$here/benchmark_clip_sglang.py" --mode multimodal --data_source flickr8k \
  --base_url="${BASE_URL:-http://127.0.0.1:30000}" --model="${MODEL:-openai/clip-vit-base-patch32}" --api=v1 \
  --flickr_images_dir "${FLICKR_IMAGES_DIR:-Flicker8k_Dataset}" \
  --flickr_captions_file "${FLICKR_CAPTIONS_FILE:-Flickr8k.token.txt}" \
  --validate --validate_samples 1 --validate_group_size 5 --validation_dump ./sglang_mm_validation.txt \
  --validation_distractors 2 --validate_start_group 58 --warmup --warmup_iters 1 "$@"
