"""Measure training in the interactive page: `python benchmarks/page_training.py [-o FILE]`.

It opens a page with 2,000 letters in Chromium and trains on its tab "Train": 784-100-10 on the
letters, and 2-32-32-5 on points in the plane. It counts the frames that the browser draws
(`requestAnimationFrame`), the pictures that change, and the epochs, and measures the processor time
of the page's main thread.
Three ways take turns in each round, so that a busy moment of the machine affects all alike: in a
worker, as users get it; in the page itself, in short slices; and no training, which is the most
frames that this browser gives. The time of one update is measured with WebAssembly and without.
Needs the extras `browser` and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

import chalknet
from chalknet.data.glyphs import load_glyphs
from chalknet.data.preprocess import Scaling
from chalknet.machine.facts import machine_facts
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network
from chalknet.serving.page.embedded_model import embed_model
from chalknet.serving.page.embedded_samples import EmbeddedSamples
from chalknet.serving.page.page import PageContent, page_html

N_TRAIN, N_HELD_OUT = 1_500, 500
# Settings of the tab, with a learning rate that is too low to diverge in the time of a count.
SETTINGS: dict[str, dict[str, Any]] = {
    "letters, full batch": {"samples": {"batch": 0, "epochs": 5_000, "rate": 1e-6}},
    "letters, batches of 50": {"samples": {"batch": 50, "epochs": 5_000, "rate": 1e-6}},
    "plane, 2-32-32-5": {
        "mode": "plane",
        "plane": {
            "set": "spirals",
            "classes": 5,
            "hidden": 32,
            "second": 32,
            "rate": 1e-5,
            "epochs": 10_000,
            "speed": 0,
        },
    },
}
PLACES = ("worker", "page", "no training")

COUNTED = """(seconds) => new Promise((resolve) => {
  const { trainer } = chalk.app.shown.tab;
  const begun = performance.now();
  const [epochs, first] = [trainer.snapshot.updates / trainer.snapshot.updatesPerEpoch, trainer.snapshot];
  let [frames, pictures, longest, last, shown] = [0, 0, 0, begun, first];
  const frame = (now) => {
    frames += 1;
    longest = Math.max(longest, now - last);
    last = now;
    if (trainer.snapshot !== shown) pictures += 1;
    shown = trainer.snapshot;
    const passed = (performance.now() - begun) / 1000;
    if (passed < seconds) return requestAnimationFrame(frame);
    const done = trainer.snapshot.updates / trainer.snapshot.updatesPerEpoch - epochs;
    resolve({ frames: frames / passed, pictures: pictures / passed, epochs: done / passed, longest_ms: longest });
  };
  requestAnimationFrame(frame);
})"""

UPDATE = """(allowWebAssembly) => {
  const { samples, used } = chalk.app.shown.tab.trainer;
  const widths = [samples.nInputs, ...used.hidden, samples.nClasses];
  const network = new chalk.training.TrainingNetwork(widths, allowWebAssembly);
  network.initialize(new chalk.training.RandomStream(1));
  const times = Array.from({ length: 5 }, () => {
    const begun = performance.now();
    network.update(samples, samples.train, 1e-4, 0.9);
    return performance.now() - begun;
  });
  return { kind: network.arena.kind, ms: times.sort((a, b) => a - b)[2] };
}"""


def write_page(path: Path) -> None:
    """Write a page with letters and an untrained network."""
    data = load_glyphs()
    index = np.random.RandomState(521).permutation(len(data.inputs))[: N_TRAIN + N_HELD_OUT]
    architecture = Architecture(784, (100,), 10)
    model = Network(architecture, initial_parameters(architecture, 0), data.class_names, Scaling(255.0), (28, 28))
    inputs = np.asarray(data.inputs)[index].reshape(len(index), -1)
    samples = EmbeddedSamples(inputs, data.labels[index], N_TRAIN, N_HELD_OUT)
    path.write_bytes(page_html(PageContent("letters", embed_model(model), samples)))


def opened(browser: Browser, path: Path, settings: dict[str, Any], place: str) -> Page:
    """Open the tab "Train", and start the training unless place is "no training"."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    page.evaluate("(inPage) => (chalk.trainInPage = inPage)", place == "page")
    page.evaluate("(hash) => (location.hash = hash)", f"#tab=train&train={quote(json.dumps(settings))}")
    page.wait_for_selector(".train-tab[data-state=paused][data-epoch='0']")
    if place != "no training":
        page.get_by_role("button", name="Train", exact=True).click()
        page.wait_for_timeout(500)
    return page


def counted(page: Page, seconds: float) -> dict[str, float]:
    """Return the counts, and the processor time of the page's main thread for each frame.

    The processor time hardly depends on other processes: at 33 ms or less, a free core draws 30 frames a second.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")

    before = busy()
    counts: dict[str, float] = page.evaluate(COUNTED, seconds)
    used = busy() - before
    return {**counts, "main_thread_ms_per_frame": 1000 * used / (counts["frames"] * seconds)}


def measure(browser: Browser, path: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Return frames, pictures and epochs per second of each batch size and place: median and quartiles."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, settings in SETTINGS.items():
            for place in PLACES:
                page = opened(browser, path, settings, place)
                found.setdefault((name, place), []).append(counted(page, seconds))
                page.close()
    return {
        f"{name}, {place}": {key: spread([one[key] for one in measured]) for key in measured[0]}
        for (name, place), measured in found.items()
    }


def spread(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4)
    return {"median": round(median, 2), "quartile_1": round(low, 2), "quartile_3": round(high, 2)}


def update_times(browser: Browser, path: Path, rounds: int) -> dict[str, Any]:
    """Return milliseconds of one full-batch update, with WebAssembly and in JavaScript."""
    page = opened(browser, path, SETTINGS["letters, full batch"], "no training")
    measured = [page.evaluate(UPDATE, allow) for _ in range(rounds) for allow in (True, False)]
    page.close()
    kinds = sorted({one["kind"] for one in measured})
    return {kind: spread([one["ms"] for one in measured if one["kind"] == kind]) for kind in kinds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one count")
    parser.add_argument("-o", "--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        write_page(path)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        result = {
            "chalknet": chalknet.__version__,
            "browser": f"Chromium {browser.version}, headless",
            "machine": machine_facts(),
            "load_before": os.getloadavg()[0],  # processes that other users keep running
            "rounds": options.rounds,
            "seconds": options.seconds,
            "network": "784-100-10, 1,500 training and 500 validation samples, 1280 x 900 pixels",
            "per_second": measure(browser, path, options.rounds, options.seconds),
            "full_batch_update_milliseconds": update_times(browser, path, options.rounds),
        }
        browser.close()
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
