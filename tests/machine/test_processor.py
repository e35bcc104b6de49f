import pytest

from chalknet.machine import processor
from chalknet.machine.facts import blas_of_numpy, machine_facts
from chalknet.machine.processor import this_processor


def test_facts_are_ready_for_json():
    import json

    assert this_processor().cores >= 1
    assert json.loads(json.dumps(machine_facts()))["numpy"]


@pytest.mark.parametrize(("text", "size"), [("48K", 49152), ("32M", 2**25), ("7", 7), ("", 0), ("1T", 0)])
def test_cache_sizes_are_read(text, size):
    assert processor._size_bytes(text) == size


def test_vector_units_are_the_widest_first(monkeypatch):
    text = "processor\t: 0\nmodel name\t: Test 9\nflags\t\t: fpu avx avx2 fma avx512f\n\nprocessor\t: 1\n"
    monkeypatch.setattr(processor.Path, "read_text", lambda *_, **__: text)
    found = this_processor()
    assert found.name == "Test 9"
    assert found.vector_units == ("avx512f", "avx2", "fma", "avx")


def test_a_system_without_proc_gives_no_flags(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(processor.Path, "read_text", missing)
    assert this_processor().flags == frozenset()


def test_the_blas_is_that_of_numpy_and_not_that_of_scipy():
    site = "/venv/lib/python3.11/site-packages"
    scipy = {"filepath": f"{site}/scipy.libs/libscipy_openblas-1.so", "version": "0.3.30"}
    numpy = {"filepath": f"{site}/numpy.libs/libscipy_openblas64_-2.so", "version": "0.3.31.188.0"}
    mac = {"filepath": f"{site}/numpy/.dylibs/libscipy_openblas64_.dylib", "version": "0.3.31"}
    scipy_on_mac = {"filepath": f"{site}/scipy/.dylibs/libscipy_openblas.dylib", "version": "0.3.30"}
    system = {"filepath": "/usr/lib/libopenblas.so.0", "version": "0.3.21"}
    assert blas_of_numpy([scipy, numpy]) is blas_of_numpy([numpy, scipy]) is numpy
    assert blas_of_numpy([scipy_on_mac, mac]) is mac
    assert blas_of_numpy([system]) is system
    assert blas_of_numpy([]) == {}
