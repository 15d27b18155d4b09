import base64
import hashlib

import pytest
from jinja2 import UndefinedError

from synthome.errors import InputError
from synthome.plotting.style import new_figure
from synthome.reporting.page import asset, data_uri, page_environment, script_hash


def test_templates_escape_and_stop_at_what_was_not_passed():
    environment = page_environment()
    assert environment.from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"
    assert environment.from_string("{{ 0.5 | number }}").render() == "0.50"
    with pytest.raises(UndefinedError):
        environment.from_string("{{ x }}").render()


def test_assets_are_joined_in_order():
    both = asset("report.css", "leaderboard.css")
    assert both == asset("report.css") + asset("leaderboard.css")
    assert both.index(":root") < both.index("table.board")


def test_a_script_is_named_by_the_hash_of_all_its_bytes():
    script = "const × = 1;"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert script_hash(script) == f"sha256-{digest}"


def test_images_are_data_and_other_bytes_are_refused():
    assert data_uri("a", new_figure(1.0, 1.0)).startswith("data:image/png;base64,iVBOR")
    assert data_uri("a", b"<svg xmlns=''/>").startswith("data:image/svg+xml;base64,")
    with pytest.raises(InputError, match="'pca'"):
        data_uri("pca", b"GIF89a")
