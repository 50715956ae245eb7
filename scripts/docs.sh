#!/usr/bin/env bash
# docs.sh: the documentation as a site in build/site; any warning is an error. Wants the extra `docs`:
#   .venv/bin/pip install -e '.[docs]'
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
rm -rf build/docs
mkdir -p build/docs/reference
cp -r docs/. build/docs/
"$python" -m pretrain_data.cli reference keys >build/docs/reference/config.md
"$python" -m pretrain_data.cli reference columns >build/docs/reference/columns.md
cp README.md build/docs/index.md
cp README.zh.md build/docs/index.zh.md
# In the repository they point into docs/ and to each other by file name; on the site they lie beside those pages.
sed -i -e 's#(docs/#(#g' -e 's#(README.zh.md)#(index.zh.md)#g' -e 's#(README.md)#(index.md)#g' build/docs/index.md build/docs/index.zh.md
NO_MKDOCS_2_WARNING=1 "$python" -m mkdocs build --strict --quiet
echo "build/site/index.html"
