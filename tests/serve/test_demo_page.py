"""The page of the recommendation service in Chromium: search, history, lists, and why."""

import dataclasses
import shutil

import numpy as np
import pytest

from jaxrec.testing import four_films

from .items import serving_items

api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("prometheus_client", reason="needs the extra serve")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: no such program in PATH")
# It would open a dialog if the page took it for markup.
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def test_a_visitor_types_a_history_and_learns_why():
    model = four_films()
    names = model.names
    labels = np.array([*names.labels[:2], HOSTILE, names.labels[3]], object)
    model.names = dataclasses.replace(names, labels=labels)
    with serving_items(model) as service, api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        api.expect.set_options(timeout=60_000)
        faults, elsewhere = [], []
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: elsewhere.append(r.url))
        page.goto(service.url)
        page.fill("#query", "ali")
        page.click("#search button")
        page.click("#found >> text=Alien")
        items = page.locator("#best > .item")
        api.expect(items).to_have_count(3)
        shown = page.locator("#best > .item > .text").all_text_contents()
        assert shown == ["Heat", "Brazil", HOSTILE]
        assert page.locator("#best > .item > .score").first.text_content() == "0.400"
        # This model reads no history, so nothing speaks for an item.
        items.nth(2).locator(".ask").click()
        api.expect(page.locator(".why .text")).to_have_text(["Alien"])
        api.expect(page.locator(".why .score")).to_have_text(["+0.000"])
        page.click("#history .drop")
        api.expect(items).to_have_count(0)
        page.fill("#who", "ann")
        page.click("#user button")
        api.expect(page.locator("#best > .item > .text")).to_have_text([HOSTILE])
        page.fill("#who", "nobody")
        page.click("#user button")
        api.expect(page.locator("#error")).to_contain_text("no user 'nobody'")
        browser.close()
    assert faults == [] and all(url.startswith((service.url, "data:")) for url in elsewhere)
