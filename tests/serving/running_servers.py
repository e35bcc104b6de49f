"""Servers of small models on this machine, for tests."""

from contextlib import contextmanager

from conftest import needs
from small_models import image_model, row_model

from chalknet.artifacts.model_file import save_model
from chalknet.serving.server.access import Access
from chalknet.serving.server.limits import ServeLimits
from chalknet.serving.server.registry import Registry
from chalknet.serving.server.running import Server, bind_socket

PACKAGES = ("httptools", "httpx", "orjson", "prometheus_client", "python_multipart", "swagger_ui_bundle", "uvicorn")


def need_packages():
    for name in PACKAGES:
        needs(name)


@contextmanager
def running(*sources, limits=None, access=None):
    """Run a server of these models, and yield a client of httpx for it."""
    need_packages()
    import httpx

    from chalknet.workflows.serve import create_app

    limits = limits or ServeLimits(stop_seconds=2)
    bound = bind_socket("127.0.0.1", 0)
    port = bound.getsockname()[1]
    app = create_app(Registry(sources), access or Access(), limits)
    with (
        Server(app, bound, limits.of_requests),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
    ):
        yield client


def save_small_models(folder):
    """Write letters.safetensors, a model of images, and rows.safetensors, one of 3 numbers."""
    save_model(image_model(), folder / "letters.safetensors")
    save_model(row_model(), folder / "rows.safetensors")
    return [folder / "letters.safetensors", folder / "rows.safetensors"]
