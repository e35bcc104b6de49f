"""Check that the types of all public names are known to type checkers (`make typed`); exit 1 if one is not.

The names are those of every module without an underscore. pyright has to be installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# scikit-learn has no types, so the bases of this class cannot be known. Its methods and attributes are checked.
UNTYPED_BASES = "chalknet.workflows.classifier.ChalkClassifier"
OF_BASES = ("Type of base class unknown", "Type of metaclass unknown")


def faults() -> list[str]:
    """Return a line for each public name whose type is not known."""
    bin_folder = str(Path(sys.executable).parent)
    # pyright takes the packages of the first Python on the path.
    environment = {**os.environ, "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]])}
    command = ["pyright", "--verifytypes", "chalknet", "--ignoreexternal", "--outputjson"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    completeness = json.loads(done.stdout)["typeCompleteness"]
    found = []
    for symbol in completeness["symbols"]:
        messages = [one["message"] for one in symbol["diagnostics"] if one["severity"] == "error"]
        if symbol["name"] == UNTYPED_BASES:
            messages = [message for message in messages if message not in OF_BASES]
        elif not symbol["isTypeKnown"] and not messages:
            messages = ["its type is not known"]
        found += [f"{symbol['name']}: {' '.join(message.split())}" for message in messages]
    counts = completeness["exportedSymbolCounts"]
    print(f"{counts['withKnownType']:,} of {sum(counts.values()):,} public names have a known type.")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(faults()) or 0)
