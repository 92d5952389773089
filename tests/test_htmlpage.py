"""The frame of a page: its policy, and that all text is printable and escaped."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from tellapart import htmlpage
from tellapart.charts import Svg


def rendered(monkeypatch: pytest.MonkeyPatch, body: str, **values: object) -> str:
    real = htmlpage.source
    template = (
        '{% extends "frame.html" %}{% block title %}{{ title }}{% endblock %}{% block body %}' + body + "{% endblock %}"
    )
    monkeypatch.setattr(htmlpage, "source", lambda name: template if name == "x.html" else real(name))
    htmlpage._environment.cache_clear()
    try:
        return "".join(htmlpage.render("x.html", script="check.js", title="t", **values))
    finally:
        htmlpage._environment.cache_clear()


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    page = rendered(monkeypatch, "")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    style, script = re.findall(r"<style>(.*?)</style>|<script>(.*?)</script>", page, re.S)
    hashes = [
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in (style[0], script[1])
    ]
    assert policy[1].replace("&#39;", "'").split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src {hashes[0]}",
        f"script-src {hashes[1]}",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_no_style_nor_script_of_a_page_ends_early_or_names_an_address():
    for name in ("page.css", "check.js", "frame.html", "check.html"):
        text = htmlpage.source(name)
        assert not re.search(r"https?:|//[a-z]|@import|url\(|innerHTML|eval\(", text.replace("  // ", "")), name
        if name.endswith((".css", ".js")):
            assert "</" not in text
        else:
            assert not re.search(r"\son[a-z]+=|\sstyle=", text)


def test_text_is_escaped_and_made_printable_and_markup_is_not(monkeypatch: pytest.MonkeyPatch):
    hostile = "<img src=x onerror=alert(1)>\"'&\n\u202etxt\udcff\0"
    page = rendered(
        monkeypatch, '<p title="{{ text }}">{{ text }}{{ mark }}{{ n }}</p>', text=hostile, mark=Svg("<b>"), n=3
    )
    told = "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;\\n\\u202etxt\\udcff\\x00"
    assert f'<p title="{told}">{told}<b>3</p>' in page
    page.encode("utf-8")


def test_a_name_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch):
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        rendered(monkeypatch, "{{ nothing }}")
