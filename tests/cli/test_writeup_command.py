"""The commands `chalknet writeup` and `chalknet report`."""

from shlex import split

import pytest

from chalknet.cli.main import main
from chalknet.cli.writeup_progress import WriteupBar
from chalknet.studies.runner.scheduler import StudyProgress
from chalknet.workflows.writeup import WriteupProgress

LINE = split("--hidden 5,8 --epochs 3 --learning-rate 1e-3 --train 160 --valid 40 --seeds 2")


@pytest.mark.slow
def test_writeup_and_report_print_the_paths_of_the_documents(letters, tmp_path, capsys):
    assert main(["writeup", "--data", letters, *LINE, "--out", "paper"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "written to paper/writeup.html and paper/writeup.pdf"
    assert "auditing the data\n" in printed.err
    assert "checking the gradients and writing the document\n" in printed.err
    assert "training 4/4  " in printed.err
    assert (tmp_path / "paper" / "writeup.pdf").stat().st_size > 10_000
    head = ["--title", "Four letters", "--author", "Ada B.", "--date", "May 2026"]
    assert main(["report", "paper/study", "--out", "paper/report", *head]) == 0
    page = (tmp_path / "paper" / "report" / "report.html").read_text(encoding="utf-8")
    assert "<h1>Four letters</h1>" in page
    assert "Ada B. · May 2026" in page
    assert capsys.readouterr().out == "written to paper/report/report.html and paper/report/report.pdf\n"


@pytest.mark.slow
def test_the_commands_in_the_appendix_repeat_the_writeup(letters, tmp_path, capsys):
    main(["writeup", "--data", letters, *LINE, "--out", "paper", "--quiet"])
    page = (tmp_path / "paper" / "writeup.html").read_text(encoding="utf-8")
    start = page.rindex("chalknet writeup --data letters.npz")  # the conclusion has a command with more seeds
    command = page[start : page.index("<", start)].split()
    assert command[1:] == ["writeup", "--data", letters, *_repeating(), "--out", "paper-repeated"]
    capsys.readouterr()
    assert main([*command[1:-1], "again"]) == 0
    for name in ("configurations", "configuration-5", "pairs"):
        first, again = ((tmp_path / folder / "tables" / f"{name}.csv").read_text() for folder in ("paper", "again"))
        assert _without_times(first) == _without_times(again)


def _repeating():
    return split("--seeds 2 --hidden 5,8 --train 160 --valid 40 --learning-rate 0.001 --epochs 3")


def _without_times(table):
    rows = [row.split(",") for row in table.splitlines()]
    return [row[:-1] if rows[0][-1].startswith("seconds") else row for row in rows if row[0] != "time"]


@pytest.mark.slow
def test_quick_is_marked_and_has_its_own_folder(letters, tmp_path):
    line = [word for word in LINE if word not in ("--epochs", "3")]
    assert main(["writeup", "--data", letters, *line, "--quick", "--epochs", "3", "--quiet"]) == 0
    page = (tmp_path / "runs" / "writeup-letters-quick" / "writeup.html").read_text(encoding="utf-8")
    assert "Quick form: 3 epochs, 2 seeds" in page


def test_a_failed_run_exits_with_1_and_is_in_the_document(letters, tmp_path, capsys):
    line = ["1e300" if word == "1e-3" else word for word in LINE]
    assert main(["writeup", "--data", letters, *line, "--out", "paper", "--quiet"]) == 1
    assert "4 of 4 runs failed. The document lists them." in capsys.readouterr().err
    assert (tmp_path / "paper" / "writeup.html").exists()


@pytest.mark.slow
def test_after_ctrl_c_the_same_command_resumes(letters, tmp_path, monkeypatch, capsys):
    trained = []

    def stop_after_two(_bar, progress):
        if progress.study is not None and progress.study.ended is not None:
            trained.append(progress.study.ended.run)
            if len(trained) == 2:
                raise KeyboardInterrupt

    line = ["writeup", "--data", letters, *LINE, "--out", "paper", "--jobs", "1"]
    with monkeypatch.context() as patched:
        patched.setattr(WriteupBar, "__call__", stop_after_two)
        assert main(line) == 130
    assert "To resume, run the same command again (--out paper)" in capsys.readouterr().err
    assert not (tmp_path / "paper" / "writeup.html").exists()
    assert main(line) == 0
    assert capsys.readouterr().err.count("hidden=") == 2


@pytest.mark.slow
def test_foreign_documents_are_replaced_only_with_overwrite(letters, tmp_path, capsys):
    small = ["--hidden", "5", "--epochs", "3", "--train", "160", "--valid", "40", "--seeds", "1"]
    writeup, report = (
        ["writeup", "--data", letters, *small, "--out", "paper"],
        ["report", "paper/study", "--out", "paper"],
    )
    (tmp_path / "paper").mkdir()
    for line, name in ((writeup, "writeup.html"), (report, "report.html"), (report, "report.pdf")):
        page = tmp_path / "paper" / name
        page.write_text("<p>My own report.</p>", encoding="utf-8")
        assert main(line) == 1
        said = capsys.readouterr().err
        assert f"chalknet: paper/{name}: exists, but chalknet did not write it." in said
        assert "Choose another --out, or give --overwrite." in said
        assert "auditing" not in said
        assert page.read_text(encoding="utf-8") == "<p>My own report.</p>"
        if name == "report.html":
            page.unlink()
            continue
        assert main([*line, "--overwrite", "--quiet"]) == 0
        assert page.stat().st_size > 10_000
        assert main([*line, "--quiet"]) == 0


def test_a_writeup_of_table_rows_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("label,a,b\n" + "0,1.5,2\n1,3,4.5\n" * 9)
    assert main(["writeup", "--data", "rows.csv", "--train", "10", "--valid", "4", "--out", "paper"]) == 2
    assert "the write-up needs images" in capsys.readouterr().err
    assert not (tmp_path / "paper").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["writeup", "--hidden", "0"], "hidden must be"),
        (["writeup", "--hidden", ""], "hidden must be"),
        (["writeup", "--seeds", "0"], "seeds must be an integer from 1"),
        (["writeup", "--epochs", "none"], "epochs must be"),
        (["writeup", "--jobs", "0", "--quick"], "--jobs must be an integer from 1 to 1024"),
        (["report", "nowhere"], "nowhere: holds neither a finished run (summary.json) nor a study (study.sqlite)."),
    ],
)
def test_invalid_options_are_refused_in_one_line(line, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(line) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") <= 2  # a note or a step may stand before it
    assert not list(tmp_path.rglob("*.html"))


def test_the_bar_goes_from_0_to_100_over_all_steps():
    shown = []

    class Bar:
        class console:  # noqa: N801
            width = 100

        def update(self, _task, **values):
            shown.append(values)

        def stop(self):
            pass

    with WriteupBar(quiet=False) as bar:
        bar._bar, bar._task = Bar(), 0
        bar(WriteupProgress("data"))
        bar(WriteupProgress("study", StudyProgress(4, 1, 2, 0, None)))
        bar(WriteupProgress("study", StudyProgress(4, 3, 1, 0, 10.0)))
        bar(WriteupProgress("document"))
    parts = [values["completed"] for values in shown]
    assert parts[0] == 0
    assert parts[-1] == 100
    assert parts[1] > parts[0]
    assert all(len(values["facts"]) <= 100 for values in shown)
