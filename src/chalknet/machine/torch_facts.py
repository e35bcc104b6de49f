"""Facts about PyTorch: `python -m chalknet.machine.torch_facts` prints them as JSON.

PyTorch takes seconds and hundreds of megabytes to import, and a broken installation can kill the
process that imports it. Therefore the facts are read in a process of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

TIMEOUT_SECONDS = 60


def ask_torch() -> dict[str, Any]:
    """Return the facts about PyTorch, read in a process of its own.

    Returns:
        What `torch_facts` returns, or {"error": one line}.
    """
    command = [sys.executable, "-m", "chalknet.machine.torch_facts"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"the process ended with code {done.returncode}"]
            return {"error": said[-1].strip()}
        found: dict[str, Any] = json.loads((done.stdout.strip().splitlines() or [""])[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {TIMEOUT_SECONDS} s"}
    except (OSError, ValueError) as error:
        return {"error": " ".join(str(error).split())}
    return found


def torch_facts() -> dict[str, Any]:
    """Return version, CPU threads, and whether CUDA and bfloat16 can be used on which device."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        "version": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "cuda": cuda,
        "device": torch.cuda.get_device_name(0) if cuda else "",
        "device_bfloat16": bool(cuda and torch.cuda.is_bf16_supported()),
    }


if __name__ == "__main__":
    print(json.dumps(torch_facts()))
