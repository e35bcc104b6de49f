"""The OpenAPI document of a model server.

The version is 3.0, because the Swagger UI of `swagger_ui_bundle` does not show 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chalknet.serving.server.limits import ServeLimits
from chalknet.serving.server.registry import ServedModel
from chalknet.version import __version__

ERRORS = {
    400: "The request is malformed, such as a body that is not JSON.",
    401: "A token is needed.",
    403: "Pages of this origin may not send data.",
    404: "There is no such model.",
    405: "The method is not possible here.",
    408: "The body did not arrive in time.",
    413: "The body is too large, or has too many rows or images.",
    415: "The Content-Type is not one that is read, or the body is compressed.",
    421: "The Host header is not a name of this server.",
    422: "The samples do not fit the model, no image can be read, or an option is invalid.",
    503: "Too many requests wait. Ask again after the seconds of Retry-After.",
    504: "The prediction took too long.",
}
GENERAL_ERRORS = (400, 401, 405, 421)
MAX_EXAMPLES = 20  # models with examples
MAX_EXAMPLE_VALUES = 100  # of a row; more would only be a long list
PREDICTIONS, SERVER = "Models and predictions", "State of the server"  # headings of the documentation
BOOLEAN, TEXT = {"type": "boolean"}, {"type": "string"}
OPTIONS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("invert", BOOLEAN, "Images: exchange black and white. By default if it is clearly needed."),
    ("trim", BOOLEAN, "Images: cut off empty margins. By default if it is clearly needed."),
    (
        "image_fit",
        {"type": "string", "enum": ["stretch", "crop", "pad"]},
        "Images: how to resize images whose proportions differ from those of the training images.",
    ),
    ("white", {"type": "number"}, "Images: the value of white in the training data, if its pixels were not 0 to 255."),
    ("label_column", TEXT, "CSV: the column with labels, which is ignored."),
    ("id_column", TEXT, "Rows with column names: the column with the names of the rows, which are returned."),
    ("missing", {"type": "array", "items": TEXT}, "Rows with column names: further texts for missing values."),
    ("decimal", {"type": "string", "enum": [".", ","]}, "CSV: the decimal mark."),
    ("delimiter", {"type": "string", "minLength": 1, "maxLength": 1}, "CSV: the character between two cells."),
    ("header", BOOLEAN, "CSV: whether the first row has the names of the columns."),
)


def openapi_document(models: Sequence[ServedModel], limits: ServeLimits, *, needs_token: bool) -> dict[str, Any]:
    """Return the document as JSON-ready values.

    Args:
        models: the models, whose names the document lists.
        limits: the limits of requests, which it states.
        needs_token: whether requests must have a token.
    """
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "The name of a model.",
        "schema": {"type": "string", "enum": [model.name for model in models]},
    }
    paths = {
        "/v1/models/{name}/predict": {"post": _predict_operation(name, models, limits)},
        "/v1/models": {"get": _get("List the models.", "models", _object({"models": _list(_ref("Model"))}))},
        "/v1/models/{name}": {"get": _get("Describe a model.", "model", _ref("Model"), 404) | {"parameters": [name]}},
        "/healthz": {"get": _get("Tell that the server runs.", "healthz", _object({"status": TEXT}), is_open=True)},
        "/readyz": {
            "get": _get(
                "Tell that all models can predict, and whether a changed file could not be loaded.",
                "readyz",
                _object({"status": TEXT}),
                is_open=True,
            )
        },
        "/metrics": {"get": _metrics_operation()},
    }
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "chalknet",
            "version": __version__,
            "description": "Predictions from chalknet models. Every error is an object with one key, error.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            **({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if needs_token else {}),
        },
        **({"security": [{"token": []}]} if needs_token else {}),
        "tags": [{"name": PREDICTIONS}, {"name": SERVER}],
    }


def _schemas() -> dict[str, Any]:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    prediction = _object(
        {
            "label": TEXT | {"description": "The most probable class."},
            "probabilities": {"type": "object", "additionalProperties": probability, "description": "By class."},
        },
        name=TEXT | {"description": "The name of the image file, or the value of id_column."},
        read_as=TEXT | {"description": "How an image was converted."},
    )
    answer = _object(
        {"predictions": _list(_ref("Prediction")), "notes": _list(TEXT)},
        unreadable=_list(TEXT) | {"description": "One message for each image that could not be read."},
    )
    value = {
        "nullable": True,
        "anyOf": [{"type": "number"}, TEXT, {"type": "boolean"}],
        "description": "null is a missing value.",
    }
    pixel = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}
    row = {
        "anyOf": [
            {
                "type": "array",
                "items": {"anyOf": [value, {"type": "array", "items": pixel}]},
                "minItems": 1,
            },
            {"type": "object", "additionalProperties": value},
        ],
        "description": "A list of values in the order of the columns, an image as lists, or an object by column.",
    }
    rows = _object({"rows": {"type": "array", "items": row, "minItems": 1}}) | {"additionalProperties": False}
    column = _object(
        {"name": TEXT, "kind": {"type": "string", "enum": ["number", "date", "category"]}}, categories=_list(TEXT)
    )
    count = {"type": "integer", "minimum": 0}
    model = _object(
        {"name": TEXT, "classes": _list(TEXT), "network": TEXT, "parameters": count, "reads": TEXT},
        networks=count,
        interactive_page=BOOLEAN,
        image_shape=_list(count) | {"description": "Height and width of the training images, and 3 in color."},
        values_per_row=count,
        columns=_list(column),
    )
    return {
        "Prediction": prediction,
        "Predictions": answer,
        "Rows": rows,
        "Model": model,
        "Error": _object({"error": TEXT}),
    }


def _predict_operation(name: dict[str, Any], models: Sequence[ServedModel], limits: ServeLimits) -> dict[str, Any]:
    files = _object({"files": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}})
    content = {
        "application/json": {"schema": _ref("Rows"), "examples": _examples(models)},
        "text/csv": {"schema": TEXT},
        "multipart/form-data": {"schema": files | {"additionalProperties": False}},
        "image/png": {"schema": {"type": "string", "format": "binary"}},
    }
    errors = (400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 503, 504)
    good = {
        "description": "The predictions, in the order of the samples.",
        "content": {"application/json": {"schema": _ref("Predictions")}, "text/csv": {"schema": TEXT}},
    }
    return {
        "operationId": "predict",
        "tags": [PREDICTIONS],
        "summary": "Predict classes for images or rows.",
        "description": (
            f"A body has at most {limits.max_body:g} MiB, JSON at most {limits.max_json:g} MiB. A request has at most "
            f"{limits.max_rows:,} rows or images. An image has at most {limits.max_pixels / 1e6:.0f} million pixels. "
            "With the header Accept: text/csv the answer is a CSV table."
        ),
        "parameters": [
            name,
            *(
                {"name": option, "in": "query", "required": False, "schema": schema, "description": text}
                for option, schema, text in OPTIONS
            ),
        ],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": good, **_errors(errors)},
    }


def _examples(models: Sequence[ServedModel]) -> dict[str, Any]:
    """Return bodies for the models: a list of values, and an object if the columns have names."""
    found = dict[str, Any]()
    for model in models[:MAX_EXAMPLES]:
        columns = model.facts.get("columns", [])
        values = [_example_value(column) for column in columns] or _example_pixels(model)
        if len(values) <= MAX_EXAMPLE_VALUES:
            found[f"{model.name}: a list"] = {"value": {"rows": [values]}}
        if columns and len(values) <= MAX_EXAMPLE_VALUES:
            names = [column["name"] for column in columns]
            found[f"{model.name}: an object by column"] = {"value": {"rows": [dict(zip(names, values, strict=True))]}}
    return found or {"short": {"value": {"rows": [[0, 255, 0]]}, "summary": "The first 3 values of a row."}}


def _example_value(column: dict[str, Any]) -> Any:
    """Return a value of a column, such as one of its categories."""
    if column["kind"] == "category":
        return next(iter(column["categories"]), "")
    return "2024-02-03" if column["kind"] == "date" else 0


def _example_pixels(model: ServedModel) -> list[Any]:
    return [0] * model.classifier.architecture.n_inputs


def _metrics_operation() -> dict[str, Any]:
    operation = _get("Return counters in the format of Prometheus.", "metrics", {})
    operation["responses"]["200"]["content"] = {"text/plain": {"schema": TEXT}}
    return operation


def _get(summary: str, name: str, schema: dict[str, Any], *errors: int, is_open: bool = False) -> dict[str, Any]:
    good = {"description": "The answer.", "content": {"application/json": {"schema": schema}}}
    operation = {
        "operationId": name,
        "tags": [PREDICTIONS if name.startswith("model") else SERVER],
        "summary": summary,
        "responses": {"200": good, **_errors(sorted({*GENERAL_ERRORS, *errors}))},
    }
    return operation | ({"security": []} if is_open else {})


def _errors(statuses: Sequence[int]) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("Error")}}
    return {str(status): {"description": ERRORS[status], "content": content} for status in statuses}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
