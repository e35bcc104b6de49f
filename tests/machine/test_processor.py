import pytest

from chalknet.machine import processor
from chalknet.machine.facts import machine_facts
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
