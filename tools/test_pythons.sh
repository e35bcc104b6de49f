#!/usr/bin/env bash
# Runs the quick tests on every Python from 3.11 on that is found, but for the one that `make test` has used,
# each in an environment of its own (.venv-3.12 ...).
set -euo pipefail
own=$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for version in 3.11 3.12 3.13 3.14; do
  [ "$version" = "$own" ] && continue
  found=""
  for candidate in "python$version" "$HOME"/.pyenv/versions/"$version".*/bin/python; do
    # A pyenv shim answers to the name and fails when it is run, so running it is the only proof.
    if "$candidate" -c 'import ssl, venv' 2>/dev/null; then found=$candidate; break; fi
  done
  if [ -z "$found" ]; then echo "Python $version: not found"; continue; fi
  echo "Python $version: $found"
  make --no-print-directory VENV=".venv-$version" PYTHON="$found" ".venv-$version/.installed"
  # shellcheck disable=SC2086 (ALL_CORES is several words)
  ".venv-$version/bin/python" -m pytest -q ${ALL_CORES:--n logical} -m "not slow"
done
