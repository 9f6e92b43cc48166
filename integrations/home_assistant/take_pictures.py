"""Take the README's pictures: a real Home Assistant with its web pages, the real service, and Chromium.

    uv pip install --target front --no-deps home-assistant-frontend==20250411.0
    uv pip install --target front --python .venv-2025.4/bin/python playwright
    PYTHONPATH=front .venv-2025.4/bin/python take_pictures.py

The frontend's version is the one that Home Assistant's own component `frontend` asks for.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Locator, Page, Route, sync_playwright

from tests.core import HERE, Core, Lake

PICTURES: Final = HERE / "pictures"
ICON: Final = HERE / "custom_components/smarthouse/brand/icon.png"
MARGIN: Final = 12
HOME: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "sensor.kitchen_temperature": ("21.5", {"unit_of_measurement": "°C", "device_class": "temperature"}),
    "sensor.marias_kitchen_power": ("120", {"unit_of_measurement": "W", "device_class": "power"}),
    "light.living_room": ("on", {"brightness": 120, "friendly_name": "Living room"}),
    "switch.marias_charger": ("off", {"friendly_name": "Maria's charger"}),
    "person.maria": ("home", {"friendly_name": "Maria"}),
    "binary_sensor.front_door": ("off", {"device_class": "door"}),
}


class Shown(Core):
    """Home Assistant with its web pages, which `PYTHONPATH` names."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._pages = os.environ["PYTHONPATH"]

    def prepare(self) -> None:
        super().prepare()
        with (self.folder / "configuration.yaml").open("a") as configuration:
            configuration.write("frontend:\nlogbook:\n")

    def sign_in(self) -> str:
        """Return a script that signs a browser in."""
        tokens = {"access_token": self._token, "token_type": "Bearer", "expires_in": 86400, "refresh_token": ""}
        tokens |= {"hassUrl": self.url, "clientId": f"{self.url}/", "expires": int(time.time() + 86400) * 1000}
        stored = {"hassTokens": tokens, "selectedLanguage": "en", "dockedSidebar": "always_hidden"}
        return "".join(
            f"localStorage.setItem({json.dumps(name)}, {json.dumps(json.dumps(it))});" for name, it in stored.items()
        )


def brand(route: Route) -> None:
    """Show our icon as 2026.3 and newer do. Nothing else is fetched from elsewhere."""
    if "/smarthouse/" in route.request.url:
        route.fulfill(path=ICON)
    else:
        route.abort()


def take(page: Page, name: str, of: Locator | None = None) -> None:
    page.wait_for_timeout(1500)
    box = None if of is None else of.bounding_box()
    clip: Any = box and {
        "x": box["x"] - MARGIN,
        "y": max(box["y"] - MARGIN, 0),
        "width": box["width"] + 2 * MARGIN,
        "height": box["height"] + 2 * MARGIN,
    }
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip)))
    picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


def walk(page: Page, core: Core, lake: Lake) -> None:
    """Set the integration up as its README says, and look at what it shows."""
    page.goto(f"{core.url}/config/integrations/dashboard")
    page.get_by_text("Add integration").first.click(timeout=60_000)
    page.get_by_label("Search for a brand name").fill("smarth")
    page.locator("dialog-add-integration").get_by_text("SmartHouse", exact=True).click()
    dialog = page.locator("dialog-data-entry-flow")
    surface, submit = dialog.locator(".mdc-dialog__surface"), dialog.get_by_text("Submit", exact=True)
    dialog.get_by_label("Address").fill(lake.url)
    submit.click()
    dialog.get_by_label("UUID or code").wait_for()
    submit.click()
    dialog.locator("ha-checkbox").click()
    take(page, "consent", surface)
    submit.click()
    dialog.get_by_text("What to leave out").wait_for()
    take(page, "left-out", surface)
    submit.click()
    dialog.get_by_text("How far back").wait_for()
    submit.click()
    dialog.get_by_text("Finish", exact=True).click()

    page.goto(f"{core.url}/config/integrations/integration/smarthouse")
    page.get_by_text("Configure", exact=True).click()
    dialog.get_by_text("What the next upload holds").click()
    dialog.get_by_text("The next upload").wait_for()
    take(page, "preview", surface)

    core.press("upload_now")
    page.goto(f"{core.url}/config/integrations/integration/smarthouse")
    page.get_by_text("1 service", exact=True).first.click()
    page.get_by_text("Last fault", exact=True).first.wait_for()
    page.wait_for_timeout(2000)
    take(page, "device")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lake, core = Lake(Path(folder) / "service"), Shown(Path(folder) / "home")
        core.prepare()
        try:
            lake.start()
            core.start()
            for entity_id, (state, attributes) in HOME.items():
                core.ask("POST", f"/api/states/{entity_id}", {"state": state, "attributes": attributes})
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 1000, "height": 760}, locale="en-GB")
            context.route("https://**/*", brand)
            context.add_init_script(core.sign_in())
            walk(context.new_page(), core, lake)
            browser.close()
        finally:
            core.stop()
            lake.kill()


if __name__ == "__main__":
    main()
