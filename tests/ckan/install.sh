#!/usr/bin/env bash
# Installs a real CKAN for the tests, and a loader of Croissant, into an environment of their own: CKAN needs older libraries than
# the service. It is kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
version=2.11.4
[ -f "venv/$version" ] && exit 0
python3 -m venv --clear venv
# Of a hundred packages, pip takes minutes to find out which fit together, and uv some seconds.
venv/bin/pip install -q --disable-pip-version-check "uv>=0.7"
install() {
    venv/bin/uv pip install -q --python venv/bin/python "$@"
}
install --no-deps "ckan==$version"
# CKAN's own list, but with a driver for PostgreSQL that needs no compiler, and without the types.
venv/bin/python - > venv/requirements.txt <<'PYTHON'
from importlib.metadata import requires

for one in requires("ckan") or ():
    name = one.partition(";")[0].strip()
    if "extra ==" in one and not name.startswith(("mypy", "sqlalchemy2-stubs")):
        print(name.replace("psycopg2==", "psycopg2-binary==").replace("[mypy]", ""))
PYTHON
install "setuptools<80" -r venv/requirements.txt "ckanext-dcat==2.4.4" "pyshacl==0.40.1"
sed -i 's/\[.*\]//' venv/requirements.txt
install -c venv/requirements.txt "mlcroissant[parquet]==1.1.1"
touch "venv/$version"
