#!/usr/bin/env bash
# The quick set of benchmarks: `make bench DATA=FOLDER`. FOLDER is laid out as the heads of the scripts say:
# text/domain, text/quality, text/dedup, text/pii, crawl/warc and crawl_gold. Ratios against Spark copies and libraries;
# the peers that have environments of their own (chain.py, rules.py --peer, dedup.py whole) are run one by one.
set -euo pipefail
cd "$(dirname "$0")/.."
DATA=${1:?which data? make bench DATA=FOLDER}
OUT=${2:-work/bench}
PYTHON=${PYTHON:-.venv/bin/python}
mkdir -p "$OUT"
bench() { # NAME, then the script and its arguments
    echo "== $1"
    "$PYTHON" "scripts/bench/$2" "${@:3}" | tee "$OUT/$1.txt"
}
bench extraction extraction.py --data "$DATA" --only ours --sample 10 --out "$OUT/extraction.json"
bench rules rules.py "$DATA/text/domain/docs.parquet" --megabytes 40 --times 1 --work "$OUT/work" --out "$OUT/rules.json"
bench pii pii.py "$DATA/text"
bench dedup-score dedup.py score "$DATA/text/dedup" --work "$OUT/work" --out "$OUT/dedup-score.json"
bench dedup-kernel dedup.py kernel "$DATA/text/dedup" --times 1 --work "$OUT/work" --out "$OUT/dedup-kernel.json"
bench scoring scoring.py --texts "$DATA/text/quality/docs.parquet" --documents 400 --json "$OUT/scoring.json"
bench tokens tokens.py "$DATA/text/quality/docs.parquet"
bench ingest ingest.py "$DATA/crawl/warc"
echo "tables and JSON are in $OUT"
