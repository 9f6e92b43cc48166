#!/usr/bin/env bash
# Puts the add-on together: integrations/home_assistant/addon/assemble.sh FOLDER. Copy the folder to /addons of Home Assistant OS.
set -euo pipefail
target=${1:?name the folder to make, such as ./smarthouse}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir "$target"
# The Supervisor builds an image from one folder, so the sources that the project's Dockerfile takes must be in it.
for name in LICENSE README.md pyproject.toml setup.cfg wsgi.py backends blueprints config smarthouse_api; do
    cp -r "$root/$name" "$target/"
done
find "$target" -name __pycache__ -prune -exec rm -r {} +
cp -r "$here/config.yaml" "$here/DOCS.md" "$here/translations" "$here/start.py" "$here/ingress.py" "$target/"
cp "$here/../custom_components/smarthouse/brand/icon.png" "$target/icon.png"
# The build's cache of packages needs BuildKit, which the Supervisor has.
cat "$root/Dockerfile" "$here/addon.Dockerfile" >"$target/Dockerfile"
