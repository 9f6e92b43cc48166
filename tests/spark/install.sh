#!/usr/bin/env bash
# Installs Apache Spark for the tests, into an environment of its own: its package has the name of the client's. It is kept.
# Java 17 must be there (Debian: openjdk-17-jre-headless). Spark fetches Delta and the client of S3 when it starts first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
version=4.0.1
[ -f "venv/$version" ] && exit 0
python3 -m venv --clear venv
venv/bin/pip install -q --disable-pip-version-check "pyspark==$version"
touch "venv/$version"
