"""How far a single training is: its state, and the page that follows it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from chalknet.config import Recipe
from chalknet.formatting import capitalized, count_of, duration
from chalknet.records import EpochRecord
from chalknet.reporting.document import Block, Code, FigureBlock, Note, Paragraph, TableBlock
from chalknet.reporting.figures import Mark, growing_axis
from chalknet.reporting.live_document import LivePage, LiveSection
from chalknet.reporting.markup import escape
from chalknet.reporting.next_steps import watch_command
from chalknet.reporting.study_figures import BEST_EPOCH, history_curves
from chalknet.reporting.tables import MONITOR_NAMES, SCORE_HEADS, SPLIT_NAMES, Table, score_cells

SHOWN_SPLITS = ("train", "valid")  # who sees test scores during a training may choose by them


@dataclass(frozen=True, eq=False)
class NetworkProgress:
    """One network of a training.

    Attributes:
        seed: its seed.
        history: the epochs so far.
        is_finished: whether its training has ended.
    """

    seed: int
    history: tuple[EpochRecord, ...] = ()
    is_finished: bool = False


@dataclass(frozen=True, eq=False)
class TrainingState:
    """A training of one network or of an ensemble at one moment.

    Attributes:
        title: what is trained, in words.
        source: the data.
        recipe: its recipe.
        networks: those that have begun.
        phase: "running", "interrupted" or "finished".
        n_networks: number of networks, with those that have not begun.
        folder: its folder; None without one.
        seconds_left: an estimate; None if nothing is known.
        at: when it was estimated, in seconds since 1970.
        is_live: whether every epoch is known at once. Otherwise the last checkpoint is shown.
        error: why it ended early; "" if it did not, or if that is not known.
        notes: what the user should know about data and recipe, one sentence each.
    """

    title: str
    source: str
    recipe: Recipe
    networks: tuple[NetworkProgress, ...]
    phase: str
    n_networks: int = 1
    folder: Path | None = None
    seconds_left: float | None = None
    at: float = 0.0
    is_live: bool = False
    error: str = ""
    notes: tuple[str, ...] = ()

    @property
    def progress(self) -> float:
        """The fraction of all epochs that are done, in [0, 1]."""
        if self.phase == "finished":
            return 1.0
        epochs = self.recipe.training.epochs
        done = sum(1.0 if one.is_finished else len(one.history) / epochs for one in self.networks)
        return min(done / self.n_networks, 1.0)


def training_page(state: TrainingState) -> LivePage:
    """Return the page that follows a training."""
    sections = [
        LiveSection("work", "What happens now", tuple(_work_blocks(state))),
        LiveSection("scores", "Scores", tuple(_score_blocks(state))),
        LiveSection("curves", "Learning curves", tuple(_curve_blocks(state))),
        LiveSection("notes", "Notes on the data", tuple(Note(escape(note)) for note in state.notes)),
        LiveSection("next", "What to do next", tuple(_next_blocks(state))),
    ]
    return LivePage(
        title=state.title,
        subtitle=f"On the data set {state.source}" + ("" if state.folder is None else f", in {state.folder}"),
        phase=state.phase,
        headline=_headline(state),
        progress=state.progress,
        progress_text=_epochs_text(state),
        seconds_left=state.seconds_left if state.phase == "running" else None,
        estimated_at=state.at,
        basis="Estimated from the epochs so far. Early stopping may end the training sooner."
        if state.recipe.stopping.stop_early
        else "Estimated from the epochs so far.",
        again="" if state.folder is None else watch_command(state.folder),
        sections=tuple(section for section in sections if section.blocks),
    )


def _epochs_text(state: TrainingState) -> str:
    """Return the epoch of the current network: "epoch 12 of 200"."""
    if not state.networks:
        return "no epoch yet"
    current, n = state.networks[-1], state.recipe.training.epochs
    text = f"epoch {len(current.history):,} of {n:,}"
    if state.n_networks > 1:
        text = f"network {len(state.networks)} of {state.n_networks}, {text}"
    return text


def _headline(state: TrainingState) -> str:
    if state.phase == "finished":
        epochs = sum(len(one.history) for one in state.networks)
        seconds = sum(record.seconds for one in state.networks for record in one.history)
        return f"Finished after {count_of(epochs, 'epoch')} in {duration(seconds)}."
    text = capitalized(_epochs_text(state))
    return f"Interrupted. {text}." if state.phase == "interrupted" else f"{text}."


def _work_blocks(state: TrainingState) -> list[Block]:
    if state.error:
        return [Note(f"**The training has ended early.** {escape(state.error)}", "warning")]
    if state.phase == "interrupted" and state.folder is not None:
        text = (
            "**No process on this machine trains this network.** A process in another container or on another machine "
            "is not visible here. If there is none, resume the training from its last checkpoint with this command:"
        )
        return [Note(text, "warning"), Code(shlex.join(["chalknet", "train", "--resume", str(state.folder)]))]
    if state.phase == "running" and not state.is_live:
        return [
            Paragraph(
                "The epochs up to the last checkpoint are shown. The time between two checkpoints grows from half a "
                "second to a minute."
            )
        ]
    return []


def _score_blocks(state: TrainingState) -> list[Block]:
    """Show the scores of the last epoch and of the best one of the current network."""
    if not state.networks or not state.networks[-1].history:
        return [Paragraph("No epoch is finished yet.")]
    history, monitor = state.networks[-1].history, state.recipe.stopping.monitor
    last, best = history[-1], best_epoch(history, monitor)
    shown = [last] if best is None or best.epoch == last.epoch else [last, best]
    rows = [
        (f"{SPLIT_NAMES[split]}, epoch {one.epoch:,}", *score_cells(one.scores(split))[:2])
        for one in shown
        for split in SHOWN_SPLITS
    ]
    caption = "Scores after the last epoch."
    if best is not None:
        caption = f"Scores after the last epoch, {last.epoch:,}, and after the best one by {MONITOR_NAMES[monitor]}"
        caption += f", {best.epoch:,}." if best.epoch != last.epoch else ", which is the same."
    return [TableBlock("scores", Table("Scores", SCORE_HEADS[:3], tuple(rows)), caption)]


def _curve_blocks(state: TrainingState) -> list[Block]:
    """Show loss and accuracy of the last networks, the current one first."""
    blocks: list[Block] = []
    for one in reversed(state.networks[-4:]):
        if len(one.history) < 2:
            continue
        splits = [split for split in SHOWN_SPLITS if one.history[0].scores(split) is not None]
        best = best_epoch(one.history, state.recipe.stopping.monitor)
        marks = () if best is None else (Mark(float(best.epoch), BEST_EPOCH),)
        x_limits = None if one.is_finished else growing_axis(len(one.history), state.recipe.training.epochs)
        figure = history_curves(one.history, splits, ("loss", "accuracy"), marks, x_limits)
        which = f" of the network with seed {one.seed}" if state.n_networks > 1 else ""
        caption = f"Loss and accuracy{which} after each epoch."
        if marks:
            so_far = "" if one.is_finished else " so far"
            caption += (
                f" The vertical line is the best epoch{so_far} by {MONITOR_NAMES[state.recipe.stopping.monitor]}."
            )
        blocks.append(FigureBlock(f"curves-{one.seed}", figure, caption, f"{caption} The table has the last scores."))
    return blocks


def _next_blocks(state: TrainingState) -> list[Block]:
    if state.phase != "finished" or state.folder is None:
        return []
    folder = str(state.folder)
    commands = (["report", folder], ["evaluate", folder], ["predict", folder, "FILE"], ["serve", folder])
    return [
        Paragraph("Write a report, measure the model on labeled data, predict files, or serve the model:"),
        *(Code(shlex.join(["chalknet", *command])) for command in commands),
    ]


def best_epoch(history: tuple[EpochRecord, ...], monitor: str) -> EpochRecord | None:
    """Return the first epoch with the best monitored score; None without validation samples."""
    scored = [(record, record.valid) for record in history if record.valid is not None]
    if not scored:
        return None
    if monitor == "valid_accuracy":
        return max(scored, key=lambda pair: pair[1].accuracy)[0]
    return min(scored, key=lambda pair: pair[1].loss)[0]
