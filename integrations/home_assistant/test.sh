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

# What installs a version: the plugin for tests brings just that Home Assistant. aiodns of that time works with no newer pycares.
install() {
    local home=$environments/.venv-$1 plugin=$2 resolve=$3
    [ -e "$home/.finished" ] && return
    echo "Installing Home Assistant into $home"
    uv venv --quiet --clear --python "$python" "$home" || missing 'Python 3.13 is missing; Home Assistant needs it'
    uv pip install --quiet --python "$home/bin/python" --python-version "$resolve" \
        "pytest-homeassistant-custom-component==$plugin" 'pycares<5' mypy
    touch "$home/.finished"
}

unset PYTHONDONTWRITEBYTECODE
install 2025.4 0.13.236 3.13.0
"$environments/.venv-2025.4/bin/python" -m pytest "$@"
