import pytest

from chalknet.bench.catalogue import EVERY_WORK, PEERS, QUICK_WORK, Work, parse_work, peer_named
from chalknet.bench.peer_work import prepare_function
from chalknet.errors import ConfigError


@pytest.mark.parametrize("text", EVERY_WORK)
def test_every_work_reads_back_as_it_is_written(text):
    assert str(parse_work(text)) == text


def test_the_quick_form_holds_a_full_batch_a_step_and_a_prediction():
    assert set(QUICK_WORK) <= set(EVERY_WORK)
    assert {parse_work(text).kind for text in QUICK_WORK} == {"full", "step", "predict"}


def test_sizes_mean_samples_and_units():
    assert (Work("step", (128, 16)).n, Work("step", (128, 16)).units) == (128, 16)
    assert (Work("full", (500,)).n, Work("full", (500,)).units) == (15_000, 500)
    assert (Work("predict", (7,)).n, Work("predict", (7,)).units) == (7, 1_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ful 1000", "unknown work 'ful 1000'. Did you mean 'full 1000'?"),
        ("", "unknown work ''"),
        ("full", "work 'full' takes a whole number from 1 to 20000, got 'full'"),
        ("full 0", "got 'full 0'"),
        ("full 1e3", "got 'full 1e3'. Did you mean 'full 1"),
        ("step 128", "work 'step' takes a whole number from 1 to 15000 and a whole number from 1 to 20000"),
        ("predict 99999999999999999999", "from 1 to 18724"),
    ],
)
def test_a_wrong_work_is_one_line_with_the_nearest(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_work(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_peer_is_one_line_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown peer 'scikit'. Did you mean 'scikit-learn'\?"):
        peer_named("scikit")


@pytest.mark.parametrize("peer", PEERS.values(), ids=lambda peer: peer.name)
def test_every_peers_function_is_there_without_its_libraries(peer):
    assert callable(prepare_function(peer.function))


def test_a_peer_is_present_when_all_that_it_needs_is(monkeypatch):
    monkeypatch.setattr("chalknet.bench.catalogue.find_spec", lambda name: None if name == "onnx" else object())
    assert PEERS["jax"].is_present()
    assert not PEERS["onnxruntime"].is_present()
