"""What is compared with what: the kinds of work and the peers; standard library only.

Work:
    full F      one epoch of the write-up: an update from 15,000 samples through F units, and valid and test scored
    step B F    mini-batch updates with momentum, batches of B gathered from the 15,000, through F units
    predict N   probabilities of N images through 1,000 units

Peers, each at its best settings that compute the same thing:
    chalknet      the numpy engine, float32
    formulas      the write-up's formulas in plain NumPy, float64, all BLAS threads
    scikit-learn  MLPClassifier's own loop, float32 input, solver sgd, no penalty
    torch         Linear, ReLU, Linear in float32, SGD with momentum; gradients set to 0 in place, not to None
    torch-compile the same through torch.compile
    torch-bf16    the same as torch in bfloat16, weights too
    jax           one jitted update in float32
    onnxruntime   prediction only
    ceiling       what the products of a full epoch take at the product rate, measured now

Only when asked by name, as benchmarks/torch_engine.py does, since their arithmetic is another:
    chalknet-bf16  the torch engine with bfloat16 products
    products-bf16  nothing but the products of a full epoch, each in its own shape, in bfloat16
    ceiling-bf16   the ceiling at torch's bfloat16 product rate
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from chalknet.config import near_match
from chalknet.errors import ConfigError

N_TRAIN, N_VALID, N_TEST = 15_000, 1_000, 2_724
N_IMAGES = N_TRAIN + N_VALID + N_TEST
PREDICT_UNITS = 1_000
FULL = tuple(f"full {units}" for units in (100, 500, 1000, 2000))
STEPS = tuple(f"step {batch} {units}" for batch in (32, 128) for units in (16, 100, 1000))
PREDICTIONS = ("predict 1", "predict 10000")
EVERY_WORK = (*FULL, *STEPS, *PREDICTIONS)
QUICK_WORK = ("full 100", "full 1000", "step 128 100", "predict 1")
# kind -> the most that each of its sizes may be
LIMITS = {"full": (20_000,), "step": (N_TRAIN, 20_000), "predict": (N_IMAGES,)}
EXTRA = 'pip install "chalknet[bench]"'  # installs every peer


@dataclass(frozen=True)
class Work:
    """One kind of work with its sizes, as "step 128 1000" names it."""

    kind: str
    sizes: tuple[int, ...]

    @property
    def units(self) -> int:
        """F, of the hidden layer."""
        return PREDICT_UNITS if self.kind == "predict" else self.sizes[-1]

    @property
    def n(self) -> int:
        """Samples of an update or of a prediction."""
        return N_TRAIN if self.kind == "full" else self.sizes[0]

    def __str__(self) -> str:
        return " ".join([self.kind, *map(str, self.sizes)])

    def title(self) -> str:
        """What is timed, in words."""
        if self.kind == "full":
            return f"one epoch of the write-up, {self.units:,} units"
        if self.kind == "step":
            return f"one update, batch {self.n:,}, {self.units:,} units"
        return f"probabilities for {self.n:,} image{'s' * (self.n != 1)} through {self.units:,} units"


@dataclass(frozen=True)
class Peer:
    """One that does the work.

    Attributes:
        function: "file:function" under `chalknet.bench.peers`.
        needs: modules without which it is absent.
        on_numpy: whether its products are NumPy's, so that the kernels of NumPy's BLAS matter to it.
        own: whether it is chalknet's, and so uses the kernels that chalknet's commands choose.
        quick: whether the quick form asks it; another's compiler takes longer than all the rest.
        full: whether the full form asks it.
    """

    name: str
    function: str
    needs: tuple[str, ...] = ()
    on_numpy: bool = False
    own: bool = False
    quick: bool = True
    full: bool = True

    def is_present(self) -> bool:
        return all(find_spec(module) is not None for module in self.needs)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("chalknet", "own:chalknet", on_numpy=True, own=True),
        Peer("formulas", "formulas:formulas", on_numpy=True),
        Peer("scikit-learn", "scikit_learn:scikit_learn", ("sklearn",), on_numpy=True),
        Peer("torch", "torch_peers:torch_float32", ("torch",)),
        Peer("torch-compile", "torch_peers:torch_compiled", ("torch",), quick=False),
        Peer("torch-bf16", "torch_peers:torch_bfloat16", ("torch",)),
        Peer("jax", "jax_peer:jax_peer", ("jax",)),
        Peer("onnxruntime", "onnx_runtime:onnx_runtime", ("onnx", "onnxruntime")),
        Peer("chalknet-bf16", "own_torch:chalknet_bfloat16", ("torch",), quick=False, full=False),
        Peer("products-bf16", "own_torch:products", ("torch",), quick=False, full=False),
        Peer("ceiling-bf16", "own_torch:ceiling", ("torch",), quick=False, full=False),
        Peer("ceiling", "own:ceiling", on_numpy=True, own=True),
    )
}


def parse_work(text: str) -> Work:
    """ "step 128 1000" as `Work`.

    Raises:
        ConfigError: anything that is not a kind of work with its sizes.
    """
    kind, *sizes = text.split() or [""]
    limits = LIMITS.get(kind)
    if limits is None:
        raise ConfigError(f"unknown work {text!r}.{near_match(text, EVERY_WORK)}")
    if len(sizes) != len(limits) or not all(
        size.isascii() and size.isdigit() and 1 <= int(size[:9]) <= most
        for size, most in zip(sizes, limits, strict=True)
    ):
        form = " and ".join(f"a whole number from 1 to {most}" for most in limits)
        raise ConfigError(f"work {kind!r} takes {form}, got {text!r}.{near_match(text, EVERY_WORK)}")
    return Work(kind, tuple(int(size) for size in sizes))


def peer_named(name: str) -> Peer:
    """The peer of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PEERS:
        raise ConfigError(f"unknown peer {name!r}.{near_match(name, PEERS)}")
    return PEERS[name]
