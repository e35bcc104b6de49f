"""The page of a study on a server and in Chromium."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from conftest import made_images, needs
from studies.made_store import finish, made_store

import chalknet
from chalknet.cli.main import main
from chalknet.errors import ChalknetError
from chalknet.reporting.live_document import LivePage
from chalknet.serving.server.access import Access
from chalknet.serving.server.guard import Guard
from chalknet.serving.server.running import Server, address_of, bind_socket
from chalknet.serving.watch.app import PAGE_FILES, WatchApp
from chalknet.serving.watch.live_training import LiveTraining
from chalknet.serving.watch.sources import FolderSource
from chalknet.studies.lease import end_lease, new_lease
from chalknet.studies.store import Store
from chalknet.workflows.watch import LIMITS, watching

pytestmark = pytest.mark.extras
needs("uvicorn")

DATA = made_images(240, seed=0)


def ask(address, path="/state", method="GET", **headers):
    """The status, the headers and the body of an answer."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class CountingSource:
    """A source that counts how often it is read."""

    def __init__(self):
        self.count, self.shown = 0, LivePage("A title", "", "running", "1 of 2 runs is done.")

    def page(self):
        self.count += 1
        if isinstance(self.shown, ChalknetError):
            raise self.shown
        return self.shown


@contextmanager
def served(source, access=None):
    app, bound = WatchApp(source), bind_socket("127.0.0.1", 0)
    with Server(Guard(app, access or Access(), LIMITS, open_paths=PAGE_FILES), bound, LIMITS):
        yield address_of(bound), app


def test_an_unchanged_page_is_not_sent_again():
    source = CountingSource()
    with served(source) as (address, app):
        status, headers, body = ask(address)
        assert (status, json.loads(body)["title"]) == (200, "A title")
        assert ask(address, **{"If-None-Match": headers["etag"]})[::2] == (304, b"")
        source.shown = LivePage("A title", "", "finished", "2 of 2 runs are done.")
        app.state(at_once=True)
        status, changed, _ = ask(address, **{"If-None-Match": headers["etag"]})
        assert (status, changed["etag"] != headers["etag"]) == (200, True)


def test_many_browsers_cost_one_read():
    source = CountingSource()
    with served(source) as (address, _):
        threads = [threading.Thread(target=ask, args=[address]) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first = source.count
        ask(address)
    assert first < 12


def test_the_page_is_only_read_and_has_a_policy():
    with served(CountingSource()) as (address, _):
        for path in PAGE_FILES:
            status, headers, _ = ask(address, path)
            assert (status, headers["x-content-type-options"]) == (200, "nosniff")
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert ask(address, "/study.sqlite")[0] == 404
        assert ask(address, "/..%2f..%2fetc/passwd")[0] == 404
        assert ask(address, method="POST")[0] == 405
        assert ask(address, Host="evil.example")[0] in (400, 403, 421)


def test_a_damaged_study_is_shown_as_an_error():
    source = CountingSource()
    source.shown = ChalknetError("runs/x/study.sqlite: is damaged.")
    with served(source) as (address, _):
        status, _, body = ask(address)
    found = json.loads(body)
    assert (status, found["phase"], found["headline"]) == (200, "error", "runs/x/study.sqlite: is damaged.")


def test_a_busy_port_is_replaced_by_a_free_one():
    source = CountingSource()
    with watching(source) as first, watching(source) as second:
        assert first != second
        assert {ask(address)[0] for address in (first, second)} == {200}


def test_the_last_state_is_sent_before_the_server_ends():
    source, sent = CountingSource(), []

    def follow(address):
        tag = ""
        for _ in range(100):
            status, headers, body = ask(address, **{"If-None-Match": tag})
            if status == 200:
                tag = headers["etag"]
                sent.append(json.loads(body)["phase"])
            if sent[-1:] == ["finished"]:
                return
            time.sleep(0.05)

    with watching(source, port=0) as address:
        thread = threading.Thread(target=follow, args=[address])
        thread.start()
        while not sent:
            time.sleep(0.01)
        source.shown = LivePage("A title", "", "finished", "2 of 2 runs are done.")
    thread.join()
    assert sent == ["running", "finished"]


def test_the_page_follows_a_study(open_page, tmp_path):
    _, runs = made_store(tmp_path, "hidden=3,4", n_done=4, n_failed=1, error="<img src=x onerror=alert(1)> broke")
    lease = new_lease()
    with served(FolderSource(tmp_path)) as (address, _), Store.open_or_create(tmp_path) as store:
        store.heartbeat(lease)
        store.select_runs(runs)
        store.claim(lease)
        page = open_page(address)
        page.locator("#headline", has_text="4 of 6 runs are done").wait_for()
        assert page.locator(".bar span").count() == 4
        assert page.get_by_text("<img src=x onerror=alert(1)> broke").count() == 1
        assert page.locator("main img").count() == 0
        assert page.locator("#section-curves svg polyline").count() >= 4
        page.locator("[id$=ranking-scroll]").focus()
        finish(store._db, runs[5], 5)
        page.locator("#headline", has_text="Finished. 5 of 6 runs are done").wait_for()
        assert page.evaluate("document.activeElement.id").endswith("ranking-scroll")
        store.release(lease)
    end_lease(lease)


def test_a_lost_server_is_said_and_the_content_stays(open_page):
    shown = LivePage("A title", "", "running", "1 of 2 runs is done.", again="chalknet study watch runs/x")
    answers = [shown.json()]
    with served(CountingSource()) as (address, _):
        page = open_page("about:blank")
        # Chromium reports a refused connection on its console, which would fail the test. So answers are replaced.
        page.route("**/state", lambda route: route.fulfill(status=200, body=answers[-1]))
        page.goto(address)
        page.locator("#headline", has_text="1 of 2 runs is done.").wait_for()
        answers.append("no JSON")
        page.locator("#connection.lost").wait_for()
        assert "chalknet study watch runs/x" in page.locator("#connection").inner_text()
        assert page.locator("#headline").inner_text() == "1 of 2 runs is done."
        answers.append(shown.json())
        page.locator("#connection:not(.lost)").wait_for()


def test_a_token_is_asked_for(open_page):
    access = Access(token="a-token-of-some-length")
    with served(CountingSource(), access) as (address, _):
        assert ask(address)[0] == 401
        page = open_page("about:blank")

        def answer(route):  # a refusal, which Chromium reports on its console, is left out: the question waits
            if "authorization" in route.request.headers:
                route.continue_()

        page.route("**/state", answer)
        page.goto(address)
        page.evaluate("document.getElementById('token-form').hidden = false")
        page.get_by_label("Token of the server").fill("a-token-of-some-length")
        page.get_by_role("button", name="Show the page").click()
        page.get_by_text("1 of 2 runs is done.").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1920])
def test_the_page_fits_and_is_accessible(open_page, tmp_path, width, scheme):
    axe = needs("axe_playwright_python.sync_playwright").Axe()
    made_store(tmp_path, "hidden=3,4,5,6", "learning_rate=0.001,0.01", n_done=13, n_failed=2)
    with served(FolderSource(tmp_path)) as (address, _):
        page = open_page(address, width=width, color_scheme=scheme)
        page.locator("#section-curves svg").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        buttons = "[...document.querySelectorAll('button')].filter((one) => one.offsetParent)"
        small = page.evaluate(f"{buttons}.filter((one) => one.offsetHeight < 44).length")
        assert small == 0
        found = axe.run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_a_training_is_followed_in_the_browser(open_page):
    source = LiveTraining()
    with watching(source, port=0) as address:
        page = open_page(address)
        page.get_by_text("Waiting for the first epoch").wait_for()
        chalknet.train(DATA, "writeup", epochs=30, hidden=[4], train_size=160, valid_size=40, callbacks=source)
        source.finish()
        page.get_by_text("Finished after 30 epochs").first.wait_for()
        assert page.locator("#section-curves svg polyline").count() == 4


def test_the_command_prints_its_address_and_ends_by_ctrl_c(tmp_path):
    made_store(tmp_path, "hidden=3", seeds=1)
    command = [sys.executable, "-m", "chalknet", "study", "watch", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert json.loads(ask(line.split()[1])[2])["phase"] == "finished"
            process.send_signal(signal.SIGINT)
            _, printed = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, printed.strip()) == (130, "chalknet: stopped.")


@pytest.mark.parametrize("command", ["train --hidden 4", "study --vary hidden=3,4 --seeds 1 --jobs 1"])
def test_commands_show_a_page_while_they_work(letters, capsys, command):
    sizes = ["--recipe", "writeup", "--epochs", "2", "--train", "160", "--valid", "40"]
    words = [*command.split(), "--data", letters, *sizes, "--out", "out", "--watch", "0", "--quiet"]
    assert main(words) == 0
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("watch: http://127.0.0.1:")
    assert last == "watch: to see the page again: chalknet study watch out"


def test_other_machines_need_a_token(tmp_path, capsys):
    assert main(["study", "watch", str(tmp_path), "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "a token is needed" in capsys.readouterr().err
