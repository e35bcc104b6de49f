"""Build the interactive page of a model: one self-contained HTML file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from dataclasses import dataclass, field
from importlib.resources import files
from string import Template
from typing import Any

from chalknet.reporting.formulas import FORMULAS
from chalknet.serving.page.embedded_model import EmbeddedModel
from chalknet.serving.page.embedded_samples import EmbeddedSamples
from chalknet.version import __version__

LABEL = re.compile(r'"([A-Z][0-9]{1,2})"')
ASSETS = files("chalknet.serving.page").joinpath("assets")
# The order matters: a file uses what files before it define.
SCRIPTS = (
    "chalk.js",
    "softmax.js",
    "dense.js",
    "activations.js",
    "batch_norm.js",
    "scale.js",
    "dropout.js",
    "parametric_activation.js",
    "periodic_embedding.js",
    "piecewise_linear_embedding.js",
    "category_embedding.js",
    "windows.js",
    "conv2d.js",
    "max_pool2d.js",
    "average_pool2d.js",
    "global_average_pool.js",
    "flatten.js",
    "residual.js",
    "network.js",
    "optimizers.js",
    "embedded.js",
    "dom.js",
    "address.js",
    "images.js",
    "maps.js",
    "bars.js",
    "strokes.js",
    "drawing_area.js",
    "opened_image.js",
    "layer_view.js",
    "formulas.js",
    "explanations.js",
    "image_explanations.js",
    "table_encoding.js",
    "table_fields.js",
    "sample_bar.js",
    "app.js",
    "draw_tab.js",
    "explain_tab.js",
    "gradient_step.js",
    "backpropagate_tab.js",
)

# The engine of trainings in the page. These files are the body of one function, `chalk.trainingEngine`,
# whose text the page also starts as a worker. So they use nothing of the other files.
ENGINE_SCRIPTS = (
    "training/matrix_product.js",
    "training/random_stream.js",
    "training/training_network.js",
    "training/training_session.js",
    "training/training_loop.js",
)
ENGINE_NAMES = (
    "createArena, packPanels, RandomStream, TrainingNetwork, TrainingSession, TrainingLoop, createTurns, serveTraining"
)
TRAIN_SCRIPTS = (
    "training/runner.js",
    "training/controls.js",
    "training/canvas.js",
    "training/curves.js",
    "training/weight_images.js",
    "training/toy_sets.js",
    "training/plane_csv.js",
    "training/plane_view.js",
    "training/update_rule.js",
    "training/train_settings.js",
    "training/settings_panel.js",
    "training/train_view.js",
    "training/train_tab.js",
)


@dataclass(frozen=True)
class PageExtras:
    """What a server adds to the page that it shows.

    Attributes:
        scripts: JavaScript that runs before the page starts, such as a call of `chalk.addPanel`.
        styles: CSS after that of the page.
        connects: whether scripts may send requests to the server of the page.
        data: JSON-ready values that scripts find in `chalk.data.extras`.
    """

    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    connects: bool = False
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PageContent:
    """What a page shows.

    Attributes:
        title: title of the page.
        model: the model with rounded weights.
        samples: samples to choose from and to train with, or None.
        notes: sentences about the model, such as its accuracy with rounded weights.
        drawing: JSON-ready facts about the training images, for drawings.
        recipe: JSON-ready settings of the training.
    """

    title: str
    model: EmbeddedModel
    samples: EmbeddedSamples | None = None
    notes: tuple[str, ...] = ()
    drawing: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


def page_html(content: PageContent, extras: PageExtras | None = None) -> bytes:
    """Return the page as UTF-8; equal contents give equal bytes.

    The page asks for nothing outside of its file. Its Content-Security-Policy allows only its own
    script and style.

    Args:
        content: what the page shows.
        extras: what a server adds.
    """
    extras = extras or PageExtras()
    scripts = (*map(_asset, SCRIPTS), _training_engine(), *map(_asset, TRAIN_SCRIPTS))
    script = "\n".join(["'use strict';", *scripts, *extras.scripts, "chalk.start();"])
    style = "\n".join([_asset("page.css"), _asset("training/training.css"), *extras.styles])
    description = {
        "version": __version__,
        "title": content.title,
        "notes": content.notes,
        "model": content.model.description,
        "samples": None if content.samples is None else content.samples.description(),
        "drawing": content.drawing,
        "recipe": content.recipe,
        "formulas": _formulas(script),
        "extras": extras.data,
    }
    return (
        Template(_asset("page.html"))
        .substitute(
            title=html.escape(content.title),
            policy=_policy(script, style, extras.connects),
            style=style,
            script=script,
            description=_json(description),
            weights=_packed(content.model.data),
            samples="" if content.samples is None else _packed(content.samples.data()),
        )
        .encode()
    )


def _formulas(script: str) -> dict[str, str]:
    """Return the MathML of the formulas whose labels a script mentions, such as "A1", by label."""
    labels = dict.fromkeys(LABEL.findall(script))
    return {label: FORMULAS[label].mathml for label in labels if label in FORMULAS}


def _asset(name: str) -> str:
    return ASSETS.joinpath(name).read_text(encoding="utf-8")


def _training_engine() -> str:
    """Return the engine of trainings as a function that returns its classes."""
    body = "\n".join(map(_asset, ENGINE_SCRIPTS))
    return f"chalk.trainingEngine = () => {{\n'use strict';\n{body}\nreturn {{ {ENGINE_NAMES} }};\n}};"


def _policy(script: str, style: str, connects: bool) -> str:
    """Return the Content-Security-Policy: only this script and style, and no address outside.

    Trainings in the page run in a worker of a blob, and multiply matrices with WebAssembly.
    """
    return (
        f"default-src 'none'; script-src {_hash(script)} 'wasm-unsafe-eval'; style-src {_hash(style)}; "
        "img-src data: blob:; "
        f"worker-src blob:; connect-src {chr(39)}{'self' if connects else 'none'}{chr(39)}; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """Return JSON that can stand in a script element: no text of a model can end the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _packed(data: bytes) -> str:
    """Return bytes as gzip in base 85, which takes 6 % less room than base 64; a comma stands for "<"."""
    return base64.b85encode(gzip.compress(data, 9, mtime=0)).decode().replace("<", ",")
