#!/usr/bin/env bash
# Installs Debian's Chromium and fonts for the tests in a browser, where they are missing and this user may.
set -euo pipefail
if [ -n "${AGENTSPAN_TEST_CHROMIUM:-}" ] || command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "no Chromium here, and no apt-get to install it; name one in AGENTSPAN_TEST_CHROMIUM" >&2
  exit 0
fi
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq || true
as_root apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
