#!/usr/bin/env bash
# Makes .venv with the locked dependencies and checks for Java. Safe to call again: it does only what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

# as_root COMMAND…: run it as root where that needs no password, else fail.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo "$@"
    else return 1
    fi
}

# debian_package NAME WHY: install it where we may, else say how and stop.
debian_package() {
    say "setup: installing $1 ($2)"
    if command -v apt-get >/dev/null && as_root apt-get update -qq >&2 && as_root apt-get install -y -qq "$1" >&2; then
        return
    fi
    say "setup: $2. Install it with:"
    say "    sudo apt-get update && sudo apt-get install -y $1"
    exit 1
}

python=""
for candidate in "${PYTHON:-}" python3.12 python3.11 python3.13 python3; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { say "setup: Python 3.11, 3.12 or 3.13 is needed and none was found"; exit 1; }

java_version() { "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }
case "$(java_version || true)" in
    17 | 21) ;;
    *) debian_package openjdk-17-jre-headless "Spark needs Java 17 or 21" ;;
esac

lock=$(cat requirements.lock pyproject.toml scripts/setup.sh | sha256sum | cut -d ' ' -f 1)
if [ "$(cat .venv/.lock 2>/dev/null || true)" = "$lock" ]; then exit 0; fi

"$python" -c 'import ensurepip' 2>/dev/null || debian_package python3-venv "Python's venv module is missing"
[ -x .venv/bin/python ] || "$python" -m venv .venv
say "setup: installing the locked packages into .venv"
pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }
# Torch resolves its own needs, which differ between CPU and CUDA builds; all else is pinned in full.
pip install "$(grep '^torch==' requirements.lock)"
pip install --no-deps -r requirements.lock
pip install --no-deps --no-build-isolation -e .
echo "$lock" >.venv/.lock
