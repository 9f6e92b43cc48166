#!/usr/bin/env bash
# Tests the integration in real versions of Home Assistant. Their environments are kept, in folders that git ignores, or below
# $HOME_ASSISTANT_ENVIRONMENTS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

missing() {
    echo "$1" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
}

environments=${HOME_ASSISTANT_ENVIRONMENTS:-.}
mkdir -p "$environments"

# Of the machine, or else of the service's own environment.
root=$(cd ../.. && pwd)
PATH=$PATH:$root/.venv/bin
command -v uv >/dev/null || "$root/.venv/bin/python" -m pip --disable-pip-version-check install --quiet uv ||
    missing 'uv is missing: pip install uv'

# A Python 3.13 of this machine, or one that uv brings where it may download it.
python=3.13
for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do
    [ ! -x "$found" ] || python=$found
done

# What installs a version: the plugin for tests brings just that Home Assistant. More packages may follow.
install() {
    local home=$environments/.venv-$1 plugin=$2 resolve=$3
    shift 3
    [ -e "$home/.finished-$plugin" ] && return
    echo "Installing Home Assistant into $home"
    uv venv --quiet --clear --python "$python" "$home" || missing 'Python 3.13 is missing; Home Assistant needs it'
    uv pip install --quiet --python "$home/bin/python" --python-version "$resolve" \
        "pytest-homeassistant-custom-component==$plugin" "$@"
    touch "$home/.finished-$plugin"
}

# The newest Home Assistant may need a newer Python. So it is read and not run; a file of the last thirty days does.
newest() {
    local folder=$environments/.wheel
    if [ -z "$(find "$folder" -name '*.whl' -mtime -30 2>/dev/null)" ]; then
        rm -rf "$folder"
        uv tool run --quiet pip --disable-pip-version-check download --quiet --no-deps --only-binary :all: \
            --python-version 3.14.2 --dest "$folder" homeassistant >&2 || echo 'The newest Home Assistant cannot be had' >&2
    fi
    find "$folder" -name '*.whl' 2>/dev/null | head -n 1
}

unset PYTHONDONTWRITEBYTECODE
# The aiodns of 2025.4 works with no newer pycares.
install 2025.4 0.13.236 3.13.0 'pycares<5' mypy
install 2026.2 0.13.316 3.13.2
HOME_ASSISTANT_WHEEL=$(newest)
export HOME_ASSISTANT_WHEEL

# The second version runs beside the first one, and prints when the first is done.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$environments/.venv-2026.2/bin/python" -m pytest -o cache_dir=.pytest_cache/2026.2 --ignore tests/test_wheel.py "$@" >"$log" 2>&1 &
second=$!
failed=0
"$environments/.venv-2025.4/bin/python" -m pytest "$@" || failed=1
"$environments/.venv-2025.4/bin/python" -m mypy --cache-dir "$environments/.mypy_cache" || failed=1
wait "$second" || failed=1
cat "$log"
exit "$failed"
