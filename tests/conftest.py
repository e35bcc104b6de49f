"""Fixtures shared by all tests: shared data, small data sets, and a repeatable hypothesis."""

from __future__ import annotations

import gc
import importlib
import io
import os
import shutil
import signal
import sys
import zlib
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

from chalknet.data.dataset import Dataset, dataset_from_arrays
from chalknet.data.readers.source_file import SourceFile

SHARED = Path(__file__).resolve().parents[2] / "shared"
LETTERS = tuple("ABCDEFGHIJ")
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

# The source distribution leaves the benchmarks out; without them their tests are not collected.
collect_ignore = [] if BENCHMARKS.is_dir() else ["benchmarks"]
sys.path += [str(BENCHMARKS), str(BENCHMARKS.with_name("tools"))]

os.environ.setdefault("CHALKNET_BLAS", "keep")  # no test measures kernel sets unless it means to

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background; tests send Ctrl-C to what they start
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # started with nohup; tests send SIGHUP too
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

hypothesis.settings.register_profile("chalknet", deadline=None, max_examples=60, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "chalknet"))


def pytest_collection_finish():
    """Exempt objects made by collection from garbage collection, which would visit them each time."""
    gc.collect()
    gc.freeze()


def needs(package: str):
    """Import an optional package; without it the test is skipped, or fails in `make test-extras`."""
    if os.environ.get("CHALKNET_TEST_EXTRAS"):
        return importlib.import_module(package)
    return pytest.importorskip(package, reason=f"{package} is not installed; make test-extras brings it")


@pytest.fixture(scope="session")
def chromium():
    """Debian's Chromium, driven by Playwright, for tests of the group `extras`."""
    sync_playwright = needs("playwright.sync_api").sync_playwright
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not here; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """open_page(address, width=1280, height=800, **options): a page of Chromium.

    Options are those of Playwright's new_context. The test fails if a page has an error or a warning on its console,
    or asks another machine for something.
    """
    contexts, faults = [], []

    def opened(address: str | Path, width: int = 1280, height: int = 800, **options):
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda said: said.type in ("error", "warning") and faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: _is_local(request.url) or faults.append(f"asks for {request.url}"))
        page.goto(address.resolve().as_uri() if isinstance(address, Path) else address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def _is_local(address: str) -> bool:
    return address.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1:", "http://localhost:"))


@pytest.fixture(scope="session")
def real_letters_file() -> Path:
    """The file of 6,000 real notMNIST images, if the shared folder exists."""
    path = SHARED / "data" / "notmnist-6000.npz"
    if not path.exists():
        pytest.skip("shared/data/notmnist-6000.npz is not here")
    return path


@pytest.fixture(scope="session")
def small_images() -> Dataset:
    """240 images of 6 x 5 pixels in four classes that a small network can learn."""
    return made_images(240, seed=0)


@pytest.fixture
def letters(tmp_path, monkeypatch) -> str:
    """A small file in notMNIST's layout, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return str(save_images("letters.npz"))


def save_images(path: str | Path, n_samples: int = 240, seed: int = 0, **names) -> Path:
    """Write synthetic images in notMNIST's layout, with optional class_names."""
    data = made_images(n_samples, seed)
    np.savez(path, images=data.inputs, labels=data.labels, **names)
    return Path(path)


def save_class_folders(folder: Path, n: int, size: tuple[int, int]) -> None:
    """Write made images of another size (width, height), each in the folder of its class."""
    from PIL import Image

    data = made_images(n, seed=3)
    for k, (image, label) in enumerate(zip(data.inputs, data.labels, strict=True)):
        place = folder / data.class_names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).resize(size).save(place / f"{k}.png")


def made_images(n_samples: int, seed: int, *, shape=(6, 5), n_classes: int = 4) -> Dataset:
    """uint8 images whose class is the brightest quarter of their pixels, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_samples)
    images = rng.integers(0, 90, (n_samples, *shape))
    flat = images.reshape(n_samples, -1)
    band = flat.shape[1] // n_classes
    for k in range(n_classes):
        flat[labels == k, k * band : (k + 1) * band] += 120
    return dataset_from_arrays(images, labels, class_names=LETTERS[:n_classes], source="made.npz")


@pytest.fixture(scope="session")
def pictures():
    """The figures of the demonstration document, which are slow, drawn once for all tests."""
    from demonstration import demonstration  # tests/reporting is on the path when its tests are collected

    from chalknet.reporting.document_view import draw_pictures

    return draw_pictures(demonstration())


@pytest.fixture
def three_fonts(tmp_path) -> Path:
    """A new folder of three fonts, two of them in sub-folders."""
    from dejavu import MONO, SANS, SERIF  # tests/data/glyph_builder is on the path when its tests are collected

    folder = tmp_path / "fonts"
    (folder / "deep").mkdir(parents=True)
    for font, place in ((SANS, "sans.ttf"), (SERIF, "deep/serif.TTF"), (MONO, "deep/mono.ttf")):
        shutil.copy(font, folder / place)
    return folder


def npz_bytes(save=np.savez, **arrays) -> bytes:
    """Return the bytes of an .npz file of these arrays."""
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def npy_bytes(array) -> bytes:
    """Return the bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def source_file(content: bytes, name: str = "f") -> SourceFile:
    """Return a source file of these bytes."""
    return SourceFile(io.BytesIO(content), name)


def image_bytes(image: Image.Image, kind="PNG", **options) -> bytes:
    """Return the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def lying_png(width: int, height: int) -> bytes:
    """Return a PNG of one pixel whose header states another size."""
    content = bytearray(image_bytes(Image.new("L", (1, 1))))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)
