"""The command `chalknet study`: output, files and exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import save_class_folders
from reporting.study_factory import make_results

from chalknet.artifacts.run_folder import read_run
from chalknet.cli.main import main
from chalknet.cli.study_progress import RunProgress
from chalknet.cli.study_text import results_text
from chalknet.studies.configurations import Configuration, RunKey
from chalknet.studies.progress import end_line, progress_text
from chalknet.studies.results_reader import read_results
from chalknet.studies.runner.scheduler import RunEvent, StudyProgress
from chalknet.studies.search_space import grid_configurations
from chalknet.studies.spec import StudySpec, parse_vary
from chalknet.studies.store import Store

SIZES = ["--recipe", "writeup", "--train", "160", "--valid", "40", "--epochs", "3"]
QUICK = ["study", "--data", "letters.npz", *SIZES, "--vary", "hidden=3,4", "--seeds", "2", "--out", "widths"]


@pytest.fixture
def letters(letters):
    return Path(letters).resolve().parent


@pytest.fixture
def finished(letters, capsys):
    assert main([*QUICK, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    return letters / "widths"


def test_a_study_prints_its_runs_and_then_the_table(letters, capsys):
    assert main([*QUICK, "--vary", "learning_rate=1e-4,1e-3"]) == 0
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("runs ")]
    assert len(lines) == 8
    assert re.match(
        r"runs 8/8  hidden=\d, learning_rate=\S+, seed \d  valid \d+\.\d %  \d+\.\d s  0:00 left", lines[-1]
    )
    assert "over seeds 0, 1 (init and order vary)" in printed.out
    assert re.search(r"\nhidden=4, learning_rate=0\.001 +2/2 +\d+\.\d\d ± \d+\.\d\d +\d+\.\d\d +\d+\.\d\d", printed.out)
    assert "8 of 8 runs done\nbest on the validation split: hidden=" in printed.out
    assert printed.out.endswith("trains the best configuration again\nwritten to widths\n")
    assert sorted(path.name for path in (letters / "widths").glob("[a-z]*[a-z]") if "-" not in path.name) == [
        "models",
        "study.sqlite",
        "study.toml",
    ]
    assert len(list((letters / "widths" / "models").iterdir())) == 4


def test_show_prints_the_accuracy_of_every_seed(finished, capsys):
    assert main(["study", "show", "widths"]) == 0
    text = capsys.readouterr().out
    results = read_results(finished)
    for run in results.runs:
        assert f"{100 * results.run(run.configuration, run.seed).valid.accuracy:.2f}" in text
    assert "test %" not in text
    assert main(["study", "show", "widths", "--test"]) == 0
    assert "test %, not for choosing" in capsys.readouterr().out


def test_csv_and_json_have_every_run_with_all_digits(finished, capsys):
    results = read_results(finished)
    assert main(["study", "show", "widths", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["hidden"], row["seed"], row["status"]) for row in rows] == [
        (hidden, seed, "done") for hidden in "34" for seed in "01"
    ]
    run = results.run(results.configurations[1], 0)
    assert float(rows[2]["valid_loss"]) == run.kept.valid.loss
    assert main(["study", "show", "widths", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["configurations"][1]["runs"][0]["kept"]["test"]["loss"] == run.kept.test.loss
    assert found["runs"] == {"todo": 0, "running": 0, "done": 4, "failed": 0}
    assert found["specification"]["vary"] == {"hidden": [3, 4]}
    assert main(["study", "show", "widths", "--json", "--csv"]) == 2


def test_study_toml_resumes_or_repeats_the_study(finished, letters, capsys):
    tables = tomllib.loads((finished / "study.toml").read_text())
    assert tables["data"]["source"] == str(letters / "letters.npz")
    assert main(["study", "--config", "widths/study.toml"]) == 0
    assert "runs " not in capsys.readouterr().err
    assert main(["study", "--config", "widths/study.toml", "--out", "again", "--quiet"]) == 0
    first, again = (read_results(folder) for folder in (finished, letters / "again"))
    for run in first.runs:
        one, other = (results.run(run.configuration, run.seed) for results in (first, again))
        np.testing.assert_array_equal(one.test.confidence, other.test.confidence)


def told(text, start):
    """Return the command in the line of a text that begins with `start`."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return shlex.split(line.partition(": ")[2].partition("   ")[0])


@pytest.mark.usefixtures("finished")
def test_the_printed_next_commands_work(letters, capsys):
    main(["study", "show", "widths"])
    text, results = capsys.readouterr().out, read_results("widths")
    means = [np.mean([results.record(c, s).kept.valid.accuracy for s in results.seeds]) for c in results.configurations]
    best = results.configurations[int(np.argmax(means))]
    assert f"\nbest on the validation split: {best.label}\n" in text
    assert f"\nits model with seed 0: {results.model_path(best)}\n" in text
    assert told(text, "next: chalknet report")[1:] == ["report", "widths"]
    command = told(text, "next: chalknet train")[1:]
    assert main([*command, "--out", "best", "--quiet"]) == 0
    assert read_run(letters / "best").history[-1].valid == results.record(best, 0).history[-1].valid


@pytest.mark.usefixtures("letters")
@pytest.mark.slow
def test_the_next_commands_repeat_an_adapted_recipe(letters, capsys):
    rows_file(letters)
    (letters / "rows.csv").rename(letters / "a table.csv")
    line = ["--label-column", "label", "--epochs", "2", "--vary", "hidden=4,5x3", "--vary", "l2=0,0.01", "--seeds", "1"]
    assert main(["study", "--data", "a table.csv", *line, "--out", "s"]) == 0
    command = told(capsys.readouterr().out, "next: chalknet train")[1:]
    assert main([*command, "--out", "best", "--quiet"]) == 0
    results = read_results("s")
    found = [results.record(config, 0).history[-1].valid for config in results.configurations]
    assert read_run(letters / "best").history[-1].valid in found


def test_a_study_refuses_another_image_fit_than_before(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_class_folders(tmp_path / "scans", n=60, size=(12, 8))
    data = ["--data", "scans", "--image-size", "6x6", "--recipe", "writeup", "--train", "30", "--valid", "10"]
    line = ["study", *data, "--vary", "hidden=3", "--seeds", "1", "--epochs", "1", "--out", "s", "--quiet"]
    assert main([*line, "--image-fit", "crop"]) == 0
    store = (tmp_path / "s" / "study.sqlite").read_bytes()
    assert main([*line, "--epochs", "2"]) == 1
    assert "image_fit is stretch, expected crop. Give --image-fit crop" in capsys.readouterr().err
    assert (tmp_path / "s" / "study.sqlite").read_bytes() == store
    assert main(["study", "--config", "s/study.toml", "--quiet"]) == 0


@pytest.mark.usefixtures("letters")
def test_an_unfinished_study_prints_how_to_resume(capsys):
    assert main([*QUICK, "--learning-rate", "1e300"]) == 1
    with Store.open_or_create(Path("widths")) as store, store._change() as db:
        db.execute("UPDATE units SET status = 'todo', error = NULL")
    capsys.readouterr()
    main(["study", "show", "widths"])
    assert told(capsys.readouterr().out, "resume: ") == ["chalknet", "study", "--config", "widths/study.toml"]


@pytest.mark.parametrize("columns", [80, 200])
def test_no_row_is_wider_than_the_terminal(columns):
    results = make_results("hidden=5,900", "learning_rate=0.0000123,0.1", seeds=200)
    lines = results_text(results, width=columns).splitlines()
    assert max(map(len, lines)) <= columns
    rows = [line for line in lines if "200/200" in line]
    assert len(rows) == 4
    for row in rows:
        assert re.search(r"\d\d\.\d\d ± \d\.\d\d +\d\d\.\d\d to \d\d\.\d\d +30 +3\.0$", row)


@pytest.mark.usefixtures("finished")
def test_other_values_add_configurations_and_keep_the_old(capsys):
    other = ["hidden=4,5x2" if argument == "hidden=3,4" else argument for argument in QUICK]
    assert main(other) == 0
    assert "hidden=5x2" in (text := capsys.readouterr().out)
    assert "hidden=3" not in text
    main(["study", "show", "widths", "--all"])
    assert "hidden=3" in capsys.readouterr().out


def test_show_works_while_another_process_writes(finished, capsys):
    with Store.open_or_create(finished) as store, store._change():
        assert main(["study", "show", "widths"]) == 0
    assert "4 of 4 runs done" in capsys.readouterr().out


@pytest.mark.usefixtures("letters")
def test_failed_runs_are_reported_and_exit_with_1(capsys):
    assert main([*QUICK, "--learning-rate", "1e300"]) == 1
    printed = capsys.readouterr()
    assert "failed: hidden=3, seed 0: loss became" in printed.out
    assert printed.err.splitlines()[-1] == "chalknet: 4 of 4 runs failed. Train them again with --retry-failed."
    assert main(["study", "show", "widths"]) == 0
    assert "failed  failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--vary", "hiden=3"], "unknown field 'hiden' to vary. Did you mean 'hidden'?"),
        (["--hidden", "5"], "hidden is both varied and set to [5]. Leave one out."),
        (["--seeds", "0"], "seeds must be an integer from 1 to 10000, got 0."),
        (["--seeds", "some"], "seeds must be an integer from 1 to 10000, got 'some'."),
        (["--seed", "3"], "seed is what the seeds count, so it cannot be set to 3. Give --first-seed."),
        (["--jobs", "none"], "--jobs must be an integer from 1 to 1024, got 'none'."),
        (["--stack", "all"], "--stack must be an integer >= 1, got 'all'."),
        (["--stack", "4"], "--stack 4 trains networks at once on a GPU, but this study trains on CPUs"),
        (["--plan", "--on", "ray"], "--plan shows what processes on this machine would do. Leave out --on."),
        (["--stack", "0", "--plan"], "--stack must be an integer >= 1, got 0."),
        (["--search", "grid"], "sampler must be one of tpe, got 'grid'."),
        (["--trials", "5"], "trials is a setting of a search. Give --search tpe too."),
        (["--seeds-vary", "luck"], "seeds_vary must be one or more of init, order, split, got ['luck']."),
        (["--train", "500"], "only"),
    ],
)
def test_invalid_options_exit_with_2_and_write_nothing(letters, more, message, capsys):
    assert main([*QUICK, *more]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.rstrip().count("\n") <= 1  # at most the reader's note besides
    assert [path.name for path in letters.iterdir()] == ["letters.npz"]


@pytest.mark.usefixtures("letters")
def test_plan_shows_the_schedule_and_writes_nothing(letters, capsys):
    assert main([*QUICK, "--jobs", "1", "--plan"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "plan: 1 process, 4 runs"
    assert re.fullmatch(r"3 to 4 +4 +one at a time +[\d.e-]+ +0\.\d\d GB", printed[2])
    assert re.fullmatch(
        r"4 runs take about \d:\d\d if none stops early, and up to 0\.\d\d GB\. Nothing was trained\.", printed[3]
    )
    assert not (letters / "widths").exists()


@pytest.mark.usefixtures("finished")
def test_plan_covers_only_runs_that_are_not_done(capsys):
    assert main([*QUICK, "--plan"]) == 0
    assert capsys.readouterr().out == "plan: all runs are done\n"
    assert main([*QUICK, "--vary", "learning_rate=1e-4", "--stack", "1", "--plan"]) == 0
    assert "4 runs" in capsys.readouterr().out


@pytest.mark.usefixtures("letters")
def test_a_study_prints_its_plan_in_one_line(capsys):
    assert main([*QUICK, "--jobs", "2"]) == 0
    plans = [line for line in capsys.readouterr().err.splitlines() if line.startswith("plan: ")]
    assert plans == ["plan: 2 processes, 4 runs"]


def test_a_study_without_vary_is_refused(capsys):
    assert main(["study", "--data", "letters.npz", *SIZES]) == 2
    assert "Give --vary FIELD=VALUES" in capsys.readouterr().err


@pytest.mark.usefixtures("finished")
def test_show_refuses_the_options_of_study(capsys):
    assert main(["study", "--seeds", "5", "show", "widths"]) == 2
    assert "--seeds is an option of study, not of show." in capsys.readouterr().err
    assert main(["study", "shwo", "widths"]) == 2
    assert "'show'" in capsys.readouterr().err


@pytest.mark.usefixtures("letters")
def test_a_folder_without_a_study_is_a_one_line_error(capsys):
    assert main(["study", "show", "nowhere"]) == 1
    assert capsys.readouterr().err == "chalknet: nowhere: holds no study: there is no study.sqlite in it.\n"


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize("command", [["study", "show"], ["stopping"], ["report"]])
def test_the_study_in_the_folder_of_a_writeup_is_named(capsys, command):
    Path("document/study").mkdir(parents=True)
    Path("document/study/study.sqlite").touch()
    assert main([*command, "document"]) == 1
    assert capsys.readouterr().err.endswith(" The study of this write-up is in document/study.\n")


def test_resplit_and_sample_are_applied(letters, capsys):
    line = ["--resplit", "--vary", "momentum=0:0.9:lin4", "--sample", "2", "--seeds", "1", "--first-seed", "3"]
    assert main([*QUICK, *line]) == 0
    results = read_results(letters / "widths")
    assert results.spec.seeds_vary == ("init", "order", "split")
    assert len(results.configurations) == 2
    assert results.seeds == (3,)
    assert "over seed 3" in capsys.readouterr().out


def test_the_default_folder_is_named_by_what_varies(letters):
    assert main([*QUICK[:-2], "--quiet"]) == 0
    assert [path.name for path in (letters / "runs").iterdir()] == ["study-hidden"]


def rows_file(folder):
    rng = np.random.default_rng(0)
    lines = [f"{'ab'[k % 2]},{rng.normal() + k % 2:.4f},{rng.normal():.4f}" for k in range(80)]
    (folder / "rows.csv").write_text("\n".join(["label,first,second", *lines]))


@pytest.mark.parametrize("recipe", [[], ["--recipe", "strong"]])
def test_a_recipe_is_adapted_to_a_table_as_in_train(letters, capsys, recipe):
    rows_file(letters)
    flags = [*recipe, "--epochs", "2"]
    assert main(["train", "--data", "rows.csv", *flags, "--hidden", "4", "--out", "run"]) == 0
    first, *others = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert first == "note: samples are table rows and hidden is given, so recipe strong-rows is used."
    told = ["note: samples are table rows, so recipe strong-rows is used.", *others]
    assert main(["study", "--data", "rows.csv", *flags, "--vary", "hidden=4,5", "--seeds", "1", "--out", "s"]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")] == told
    results, run = read_results(letters / "s"), tomllib.loads((letters / "run" / "config.toml").read_text())
    assert results.spec.recipe.name == run["recipe"] == "strong-rows"
    record = results.record(results.configurations[0], 0)
    assert [one.test for one in record.history] == [one.test for one in read_run(letters / "run").history]


def test_varying_augmentation_on_a_table_is_refused(letters, capsys):
    rows_file(letters)
    assert main(["study", "--data", "rows.csv", "--vary", "shift_pixels=0,2", "--out", "s"]) == 2
    assert "shift_pixels changes images, but the samples are rows of numbers. Set it to 0." in capsys.readouterr().err
    assert not (letters / "s").exists()
    assert main([*QUICK, "--vary", "hidden=4,5x5", "--activation", "relu,tanh"]) == 2
    assert not (letters / "widths").exists()


# ---- progress ------------------------------------------------------------------------------------------------------

CONFIGURATION: Configuration = grid_configurations(
    StudySpec(vary=tuple(map(parse_vary, ["hidden=500", "learning_rate=1e-3"])))
)[0]


def progress(**changes):
    active_runs = ((RunKey(CONFIGURATION, 0), 12, 200), (RunKey(CONFIGURATION, 1), 11, 200))
    return StudyProgress(**{
        "total": 12, "done": 5, "running": 2, "failed": 1, "seconds_left": 65.0, "active_runs": active_runs, **changes
    })  # fmt: skip


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (
            120,
            "2 running  1 failed  1:05 left  hidden=500, learning_rate=0.001 #0 12/200  "
            "hidden=500, learning_rate=0.001 #1 11/200",
        ),
        (75, "2 running  1 failed  1:05 left  hidden=500, learning_rate=0.001 #0 12/200"),
        (35, "2 running  1 failed  1:05 left"),
        (26, "2 run 1 failed  1:05 left"),
        (9, "1:05 left"),
        (3, ""),
    ],
)
def test_a_narrow_terminal_gets_fewer_facts(room, text):
    assert progress_text(progress(), room) == text


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_the_bar_shows_runs_and_time_left_at_any_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with RunProgress(quiet=False) as show:
        show(progress(ended=RunEvent(RunKey(CONFIGURATION, 1), error="loss became nan")))
    plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", capsys.readouterr().err)
    assert "seed 1 failed: loss became nan" in " ".join(plain.split())
    shown = next(line for line in reversed(plain.splitlines()) if line.strip())
    assert "runs 5/12" in shown
    assert "2 run" in shown
    assert "1:05 left" in shown
    assert len(shown) <= columns


def test_the_end_of_a_run_is_one_line():
    run = RunKey(CONFIGURATION, 1)
    assert end_line(RunEvent(run, 1.25, 0.915)) == "hidden=500, learning_rate=0.001, seed 1  valid 91.5 %  1.2 s"
    assert end_line(RunEvent(run, error="x", will_retry=True)).endswith(
        "seed 1: its process ended (x); it is tried again"
    )
