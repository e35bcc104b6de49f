"""Build the source distribution and the wheel, check both, and use the wheel as a user does: `make wheel-check`.

    python tools/check_wheel.py [--release] [--dist FOLDER]

The wheel is built from the source distribution, as a package index builds it. It is then installed in
a bare environment of every Python from 3.11 on that is found, and trains outside the repository.
--release also refuses the placeholder address in the metadata.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[1]
PLACEHOLDER = "chalknet.example"
VERSIONS = ("3.14", "3.13", "3.12", "3.11")
TRAINING = ("train", "--hidden", "5", "--epochs", "1", "--recipe", "writeup", "--out", "run", "--quiet")


def main() -> None:
    """Build and check, and stop at the first failure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--release", action="store_true")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    write_completions()
    wheel = build(options.dist)
    if options.release:
        refuse_placeholder(wheel)
    pythons = found_pythons()
    for version, python in pythons.items():
        use_in_bare_environment(wheel, version, python)
    print(f"{wheel.name} works on Python {', '.join(pythons)}")


def write_completions() -> None:
    """Write the completion scripts of all shells, which the source distribution contains."""
    folder = ROOT / "completions"
    folder.mkdir(exist_ok=True)
    for shell in ("bash", "zsh", "fish"):
        command = [sys.executable, "-m", "chalknet", "completion", shell]
        script = subprocess.run(command, check=True, capture_output=True).stdout
        (folder / f"chalknet.{shell}").write_bytes(script)


def build(dist: Path) -> Path:
    """Build both distributions into a folder, check them, and return the wheel."""
    for old in dist.glob("chalknet-*"):
        old.unlink()
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(ROOT))
    made = sorted(map(str, dist.glob("chalknet-*")))
    run(sys.executable, "-m", "twine", "check", "--strict", *made)
    (wheel,) = dist.glob("chalknet-*.whl")
    run(str(Path(sys.executable).with_name("check-wheel-contents")), str(wheel))
    return wheel


def refuse_placeholder(wheel: Path) -> None:
    """Stop if the metadata still has the placeholder address."""
    with ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    if any(PLACEHOLDER in url for url in metadata.get_all("Project-URL", [])):
        sys.exit(f"[project.urls] in pyproject.toml has the placeholder {PLACEHOLDER}. Write the repository's address.")


def found_pythons() -> dict[str, str]:
    """Return the Pythons that work here, by version."""
    pythons = {}
    for version in VERSIONS:
        installed = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")
        for python in (f"python{version}", *map(str, installed)):
            try:
                subprocess.run([python, "-c", "import ssl, venv, ensurepip"], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            pythons.setdefault(version, python)
    return pythons


def use_in_bare_environment(wheel: Path, version: str, python: str) -> None:
    """Install the wheel and nothing else, and train outside the repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare")
        run(python, "-m", "venv", str(bare))
        run(str(bare / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
        run(str(bare / "bin" / "chalknet"), *TRAINING, cwd=folder, env=environment)
        if not Path(folder, "run", "model.safetensors").exists():
            sys.exit(f"Python {version}: the training wrote no model.")


def run(*command: str, **options: object) -> None:
    """Run a command, and stop if it fails."""
    if code := subprocess.run(command, check=False, **options).returncode:  # type: ignore[call-overload]
        sys.exit(f"{' '.join(command)} failed with exit code {code}")


if __name__ == "__main__":
    main()
