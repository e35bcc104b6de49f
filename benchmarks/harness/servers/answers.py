"""What the servers around other libraries have in common: bodies, answers, and how they run."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from pydantic import BaseModel


class Rows(BaseModel):
    rows: list[list[float]]


class Prediction(BaseModel):
    label: str
    probabilities: dict[str, float]


class Predictions(BaseModel):
    predictions: list[Prediction]


def run(predict_proba: Callable[[Any], Any], class_names: list[str]) -> None:
    """Serve a function (N, I) -> (N, K) on the port of the command line."""
    app = FastAPI()

    def answer(inputs: Any) -> Predictions:
        predictions = []
        for row in predict_proba(inputs):
            probabilities = dict(zip(class_names, row.tolist(), strict=True))
            predictions.append(Prediction(label=class_names[int(row.argmax())], probabilities=probabilities))
        return Predictions(predictions=predictions)

    @app.post("/predict")
    def predict(body: Rows) -> Predictions:
        return answer(np.array(body.rows))

    @app.post("/predict_images")
    def predict_images(files: list[UploadFile]) -> Predictions:
        images = [np.asarray(Image.open(io.BytesIO(file.file.read())).convert("L")) for file in files]
        return answer(np.stack(images).reshape(len(images), -1).astype(float))

    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False, loop="uvloop", http="httptools")
