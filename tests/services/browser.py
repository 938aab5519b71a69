"""A real browser without a screen: Debian's chromium, driven by its chromedriver."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.services.server import binary
from tests.services.waiting import eventually

WIDE, NARROW = (1280, 900), (390, 844)
#: In pixels, from the narrowest telephone on.
WIDTHS = (320, 375, 768, 1000, 1280, 1600)
#: Returns whether anything lies beyond the right edge, and words of which a part stands on another line than the rest,
#: although there is room for them: they fit into their block, or take up at most a third of the page. Returns nothing
#: while the page is loading.
LAYOUT = """
if (document.readyState !== 'complete') return null;
const root = document.documentElement, broken = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
for (let node; node = texts.nextNode();) {
  let block = node.parentElement;
  if (block.closest('[hidden], textarea, option, svg') || !block.checkVisibility()) continue;
  while (getComputedStyle(block).display.startsWith('inline')) block = block.parentElement;
  const style = getComputedStyle(block);
  const room = block.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  for (const word of node.data.matchAll(/\\S+/g)) {
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    const parts = [...range.getClientRects()].filter(part => part.width > 0);
    const width = parts.reduce((sum, part) => sum + part.width, 0);
    const lines = new Set(parts.map(part => Math.round(part.top)));
    if (lines.size > 1 && width <= Math.max(room, innerWidth / 3)) broken.push(word[0]);
  }
}
return [root.scrollWidth > root.clientWidth, broken];
"""


class Browser:
    """What a person does in one: go, read, press, write."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def go(self, url: str) -> None:
        self.driver.get(url)

    @property
    def text(self) -> str:
        """What a person reads on the page; nothing while the next one comes."""
        try:
            return self.driver.find_element(By.TAG_NAME, "body").text
        except (NoSuchElementException, StaleElementReferenceException):
            return ""

    @property
    def shown(self) -> str:
        """What the page shows, asked in one step: of a page that loads itself the next one may come between two."""
        return str(self.driver.execute_script("return document.body ? document.body.innerText : ''"))

    def press(self, text: str) -> None:
        """Press the button, or follow the link, that has this in its text."""
        wanted = f'//*[self::a or self::button][contains(normalize-space(.), "{text}")]'
        self.driver.find_element(By.XPATH, wanted).click()

    def read(self, text: str, timeout: float = 20.0) -> str:
        """Wait until the page says this; return all it says."""
        return eventually(lambda: said if text in (said := self.text) else "", timeout, what=f"{text!r} on the page")

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def size(self, size: tuple[int, int]) -> None:
        """Give the page so many pixels: a window cannot be made as narrow as a telephone."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def layout_faults(self) -> list[str]:
        """Return at which of several widths something lies beyond the right edge, and which words are broken there."""
        found = []
        for width in WIDTHS:
            self.size((width, 844))
            is_wide, broken = eventually(lambda: self.driver.execute_script(LAYOUT))
            found += [f"{width}: {fault}" for fault in (["wider than the screen"] * is_wide + broken)]
        return found

    def errors(self) -> list[str]:
        """What the browser complained of since the last time, such as a breach of the Content-Security-Policy."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(entry["message"]) for entry in log]

    def picture(self, name: str) -> None:
        """Keep a picture of the page where SCREENSHOTS says; nothing without it."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@contextmanager
def browser(folder: Path, *, scripts: bool = True) -> Iterator[Browser]:
    """Start one with a profile of its own; `scripts` off is a browser without JavaScript."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or binary("chromium-browser", "/snap/bin")
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--disable-gpu", f"--user-data-dir={folder}"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # chromium refuses to be root's with one
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = shutil.which("chromedriver") or binary("chromium.chromedriver", "/snap/bin")
    chrome = Chrome(options=options, service=ChromeService(driver))
    try:
        yield Browser(chrome)
    finally:
        chrome.quit()
