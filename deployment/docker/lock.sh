#!/bin/sh
# Makes requirements.txt again: what pyproject.toml asks for by the extras of EXTRAS, to the file. Versions that still fit
# stay; `lock.sh --upgrade` takes the newest ones. Needs uv.
set -eu
EXTRAS="--extra server --extra dashboard --extra otel --extra mcp"
folder=$(dirname "$0")
# shellcheck disable=SC2086
uv pip compile "$@" --quiet $EXTRAS --python-version 3.11 --python-platform x86_64-manylinux_2_28 --only-binary :all: \
  --generate-hashes --no-annotate --custom-compile-command deployment/docker/lock.sh \
  --output-file "$folder/requirements.txt" "$folder/../../pyproject.toml"
