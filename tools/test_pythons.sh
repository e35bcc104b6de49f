#!/usr/bin/env bash
# Runs the quick tests on other Pythons from 3.11 on than the one that `make test` has used, each in an
# environment of its own (.venv-3.12 ...): all of them on the newest Python that is found, and on those
# in between the tests of imports, commands and public functions, where a version shows first.
set -euo pipefail
own=$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
newest=yes
for version in 3.14 3.13 3.12 3.11; do
  [ "$version" = "$own" ] && continue
  found=""
  for candidate in "python$version" "$HOME"/.pyenv/versions/"$version".*/bin/python; do
    # A pyenv shim answers to the name and fails when it is run, so running it is the only proof.
    if "$candidate" -c 'import ssl, venv' 2>/dev/null; then found=$candidate; break; fi
  done
  if [ -z "$found" ]; then echo "Python $version: not found"; continue; fi
  echo "Python $version: $found"
  make --no-print-directory VENV=".venv-$version" PYTHON="$found" ".venv-$version/.installed"
  tests=tests
  [ -n "$newest" ] || tests="tests/test_imports.py tests/test_public_names.py tests/test_docs.py tests/cli/test_train_command.py tests/workflows/test_train.py tests/workflows/test_classifier.py"
  # shellcheck disable=SC2086 (ALL_CORES and tests are several words)
  ".venv-$version/bin/python" -m pytest -q ${ALL_CORES:--n logical} -m "not slow" $tests
  newest=""
done
