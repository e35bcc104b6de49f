"""Make results of studies without training: deterministic histories and predictions of any size."""

import numpy as np

from chalknet.config import Recipe
from chalknet.records import EpochRecord, Scores
from chalknet.reporting.report_data import collect_report_data
from chalknet.studies.results import DataFacts, LabeledPredictions, RunResult, StudyResults
from chalknet.studies.search_space import grid_configurations
from chalknet.studies.spec import StudySpec, parse_vary

LETTERS = tuple("ABCD")
SIZES = {"train": 160, "valid": 40, "test": 40}
MACHINE = {
    "chalknet": "0.1.0",
    "python": "3.12.0",
    "numpy": "2.0.0",
    "blas": "openblas",
    "blas_version": "0.3",
    "blas_kernels": "Haswell",
    "processor": "a processor",
    "cores": 2,
    "system": "Linux x86_64",
}
RECIPE = Recipe().with_settings(train_size=160, valid_size=40, epochs=30)


def make_results(*vary, recipe=RECIPE, sizes=SIZES, shape=(6, 5), statuses=None, errors=None, lengths=None, **changes):
    """Return the results of a study over lines such as "hidden=5,9"; later configurations are better, up to noise.

    Args:
        *vary: what varies, as on the command line.
        recipe: what the configurations have in common.
        sizes: split -> number of samples.
        shape: shape of a sample.
        statuses: (index of the configuration, seed) -> status of the run instead of "done".
        errors: (key of the configuration, seed) -> error of a failed run.
        lengths: seed -> number of epochs, for runs that stopped early.
        **changes: other fields of the specification.
    """
    spec = StudySpec(recipe, tuple(map(parse_vary, vary)), **changes)
    configs = grid_configurations(spec)
    place = {config.key: i for i, config in enumerate(configs)}
    found = {
        (config.key, seed): (statuses or {}).get((place[config.key], seed), "done")
        for config in configs
        for seed in spec.seed_numbers
    }
    facts = DataFacts("made.npz", "0" * 64, sum(sizes.values()), LETTERS, shape, sizes)

    def load(config, seed):
        n_epochs = (lengths or {}).get(seed, recipe.training.epochs)
        same = spec.first_seed if "split" not in spec.seeds_vary else seed
        return make_run(place[config.key], seed, sizes, n_epochs, same)

    return StudyResults(spec, facts, configs, spec.seed_numbers, found, errors or {}, load)


def make_run(place, seed, sizes, n_epochs, images_of):
    """Return a run whose training loss falls and whose validation loss is lowest at two thirds of the epochs."""
    rng = np.random.default_rng([7, place, seed])
    rate = min(0.7 + 0.06 * place, 0.95)
    splits = {split: predictions(rng, sizes[split], rate, images_of) for split in ("valid", "test")}
    accuracy = {split: None if one is None else one.accuracy for split, one in splits.items()}
    history = []
    for epoch in range(1, n_epochs + 1):
        t = epoch / n_epochs
        train = Scores(2.0 * (1 - t) + 0.1, 0.3 + 0.65 * t, 40 * (1 - t) + 1)
        valid = test = None
        if splits["valid"] is not None:
            valid = Scores(0.6 + (t - 0.66) ** 2 + 0.001 * seed, accuracy["valid"] * min(1, 0.5 + t), 41 - 30 * t)
        if splits["test"] is not None:
            test = Scores(0.7 + (t - 0.66) ** 2, accuracy["test"] * min(1, 0.5 + t), 41 - 30 * t)
        history.append(EpochRecord(epoch, train, valid, test, 0.1))
    losses = np.array([[record.valid.loss] * sizes["valid"] if record.valid else [] for record in history])
    noise = rng.normal(0, 0.05, losses.shape)
    correct = np.zeros(losses.shape, bool)
    if splits["valid"] is not None:
        correct[:] = splits["valid"].correct
    return RunResult(
        history=tuple(history),
        kept_epoch=n_epochs,
        seconds=0.1 * n_epochs,
        trained="numpy engine, float32, 2 worker processes",
        machine=MACHINE,
        valid=splits["valid"],
        test=splits["test"],
        valid_losses=(losses + noise).astype(np.float16),
        valid_correct=correct,
    )


def predictions(rng, n, rate, images_of):
    if not n:
        return None
    labels = np.random.default_rng(images_of).integers(0, len(LETTERS), n)
    wrong = rng.random(n) > rate
    predicted = np.where(wrong, (labels + 1) % len(LETTERS), labels)
    confidence = rng.uniform(0.5, 1.0, n).astype(np.float32)
    true = np.where(wrong, 1 - confidence, confidence).astype(np.float32)
    return LabeledPredictions(labels, predicted, confidence, true, np.arange(n) + images_of * n % 3)


def make_report_data(*vary, gone="The samples could not be read again: made.npz: no such file.", more=None, **changes):
    """Return the data of a document about such a study, without its samples."""
    return collect_report_data(make_results(*vary, **changes), MACHINE, data_missing_reason=gone, **(more or {}))


def texts(document):
    """Return all texts of a document, block by block."""
    found = [document.title, document.subtitle, document.banner, *(note.text for note in document.notes)]
    for block in document.blocks():
        table = getattr(block, "table", None)
        if table is not None:
            found += [table.title, *table.columns, *(cell for row in table.rows for cell in row)]
        found += [getattr(block, name) for name in ("text", "caption", "alt", "note") if hasattr(block, name)]
        found += list(getattr(block, "items", ()))
    return found
