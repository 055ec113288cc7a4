"""The dashboard in a real browser: it draws what happens, runs nothing it is told, and a keyboard will do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.admin import TOKEN_ENV, create_app
from langchain_cluster.cache import MemoryCache
from langchain_cluster.testing import ScriptedModel
from tests.admin.conftest import TOKEN, served
from tests.services.chromium import Chromium

pytestmark = pytest.mark.services

EVIL = "<img src=x onerror=document.title='owned'>"
CARD = "[...document.querySelectorAll('article')].find(a => a.querySelector('h3').textContent === 'gpu-1')"


@pytest.fixture
def llm() -> Iterator[ClusteredLLM]:
    endpoints = [Endpoint(id, model=ScriptedModel("fox", "owl")) for id in ("gpu-1", EVIL)]
    made = ClusteredLLM(endpoints, cache=MemoryCache())
    with made.cluster:
        yield made


@pytest.fixture
def url(llm: ClusteredLLM, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    with served(create_app(llm)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(params=[1280, 360], ids=["wide", "phone"])
def browser(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> Iterator[Chromium]:
    with Chromium(tmp_path / "profile") as running:
        running.call(
            "Emulation.setDeviceMetricsOverride",
            width=request.param,
            height=900,
            deviceScaleFactor=1,
            mobile=request.param < 500,
        )
        running.call("Page.navigate", url=url)
        running.until(
            "document.getElementById('live')?.textContent === 'live' && document.querySelector('article')"
        )
        yield running


def test_it_draws_what_happens_as_it_happens(browser: Chromium, llm: ClusteredLLM) -> None:
    browser.until(f"{CARD}.querySelector('.state').textContent === 'up'")
    llm.cluster.pool.force_open("gpu-1")
    browser.until(f"{CARD}.querySelector('.state').textContent === 'forced open'")
    browser.until(f"{CARD}.querySelector('rect.forced_open')")
    browser.until("document.getElementById('log').textContent.includes('BreakerChanged')")
    llm.cluster.pool.remove("gpu-1")
    browser.until(f"!{CARD}")


def test_it_fits_its_window_and_is_not_blank(browser: Chromium) -> None:
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert len(browser.picture()) > 8_000


def test_the_screen_decides_whether_it_is_dark(browser: Chromium) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        browser.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        grounds.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(245, 246, 248)", "rgb(16, 21, 28)"]


def test_it_runs_nothing_it_is_told(browser: Chromium) -> None:
    browser.until("document.querySelectorAll('article').length === 2")
    assert browser.run("document.title") == "langchain-cluster"
    assert browser.run("document.images.length") == 0
    told = [event for event in browser.events if event.get("method") == "Log.entryAdded"]
    assert told == []  # nor does its content policy have anything to refuse


def test_a_keyboard_will_do(browser: Chromium, llm: ClusteredLLM) -> None:
    def reach(what: str) -> None:
        for _ in range(60):
            browser.press("Tab")
            if browser.run(f"document.activeElement.matches({what!r})"):
                return
        raise AssertionError(f"the tabulator never reaches {what}")

    reach("#token")
    browser.call("Input.insertText", text="wrong")
    browser.press("Enter", "\r")
    browser.until("document.getElementById('live').textContent === 'live'")
    reach('[aria-label="Force open gpu-1"]')
    browser.press("Enter", "\r")
    browser.until("document.getElementById('said').textContent.includes('a valid token is needed')")
    assert browser.run("document.activeElement.id") == "token"
    browser.call("Input.insertText", text=TOKEN)
    browser.press("Enter", "\r")
    reach('[aria-label="Force open gpu-1"]')
    browser.press("Enter", "\r")
    browser.until("document.getElementById('said').textContent === 'Force open gpu-1: done'")
    assert llm.cluster.pool.state("gpu-1").value == "forced_open"
