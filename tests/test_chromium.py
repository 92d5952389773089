"""How a browser is found, driven and ended; what drives is tested with programs that play its part."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tellapart.errors import ExportError, MissingPackageError
from tellapart.export import chromium

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the browsers here are scripts")


@pytest.fixture
def plays(tmp_path: Path):
    """A program that plays the browser: `address` and `options` are what it is started with."""

    def make(text: str) -> str:
        path = tmp_path / "browser"
        head = f"#!{sys.executable}\nimport sys, urllib.request\n*options, address = sys.argv[1:]\n"
        path.write_text(head + textwrap.dedent(text))
        path.chmod(0o755)
        return str(path)

    return make


def test_a_browser_is_found_by_name_and_by_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    program = tmp_path / "google-chrome"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setattr(chromium, "PLACES", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.find() == str(program)
    other = tmp_path / "other"
    other.write_text("")
    monkeypatch.setenv(chromium.VARIABLE, str(other))
    assert chromium.find() == str(other)
    monkeypatch.setenv(chromium.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(MissingPackageError, match=r"CHROME_PATH names .*none, which is no file"):
        chromium.find()


def test_without_a_browser_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setattr(chromium, "PLACES", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackageError, match=r"none was found.*apt-get install chromium"):
        chromium.find()


def test_a_page_is_opened_with_a_fresh_profile_and_what_it_posts_comes_back(plays, tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "page.js").write_text("script")
    browser = plays(
        """
        import json, os, urllib.error
        here, to = address.split("?to=")
        base = here.removesuffix("/check.html")
        root = base.rsplit("/", 1)[0]
        def status(path, data=None, host=None):
            url = root + to if path == to else base + path
            request = urllib.request.Request(url, data, {"Host": host} if host else {})
            try:
                return urllib.request.urlopen(request).status
            except urllib.error.HTTPError as error:
                return error.code
        profile = [each for each in options if each.startswith("--user-data-dir=")][0].split("=")[1]
        found = {
            "page": urllib.request.urlopen(here).read().decode(),
            "kind": urllib.request.urlopen(base + "/page.js?sha256=0").headers["Content-Type"],
            "rebound": status("/page.js", host="evil.example"),
            "guessed": status("/../page.js"),
            "others": [status(path) for path in ("/secret.txt", "/../secret.txt", "/%2e%2e/secret.txt", "/")],
            "posted elsewhere": status("/other", b"x"),
            "profile": sorted(set(os.listdir(profile)) - {"said.txt"}),
            "options": options,
        }
        status(to, json.dumps(found).encode())
        import time; time.sleep(30)
        """
    )
    site = {"/check.html": b"page", "/page.js": tmp_path / "page.js"}
    started = time.monotonic()
    said = chromium.posted(browser, site, "/check.html")
    assert time.monotonic() - started < 15  # it was not waited for
    found = json.loads(said)
    assert (found["page"], found["kind"]) == ("page", "text/javascript; charset=utf-8")
    assert found["others"] == [404] * 4
    assert (found["rebound"], found["guessed"]) == (404, 404)
    assert found["posted elsewhere"] == 403
    assert found["profile"] == []
    assert {"--headless=new", "--disable-background-networking"} <= set(found["options"])
    assert ("--no-sandbox" in found["options"]) is (os.geteuid() == 0)


def test_a_browser_that_fails_is_told_with_what_it_said(plays):
    browser = plays("sys.stderr.write('first\\nno display\\n'); sys.exit(3)")
    with pytest.raises(ExportError, match=r"ended with status 3: no display\. Nothing was written"):
        chromium.posted(browser, {}, "/check.html")


def test_a_program_that_cannot_be_started_is_told(tmp_path: Path):
    path = tmp_path / "browser"
    path.write_text("no program")
    with pytest.raises(ExportError, match=r"browser does not: "):
        chromium.posted(str(path), {}, "/check.html")


def test_one_that_never_answers_is_ended_with_what_it_started(plays, tmp_path: Path):
    noted = tmp_path / "processes"
    browser = plays(
        f"""
        import os, subprocess, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        with open({str(noted)!r}, "w") as file:
            file.write(f"{{os.getpid()}} {{child.pid}}")
        time.sleep(60)
        """
    )
    with pytest.raises(ExportError, match=r"must answer in 1 s"):
        chromium.posted(browser, {}, "/check.html", longest_s=1)
    deadline = time.monotonic() + 10
    for process in map(int, noted.read_text().split()):
        while running(process) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not running(process)


def running(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().split()[2] != "Z"
    except OSError:
        return False
