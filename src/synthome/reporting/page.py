"""What every page of ours has: escaping, one style, images inside, and nothing from anywhere.

The frame of a page, with its content security policy, is ``templates/base.html.jinja``.
"""

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from synthome.errors import InputError
from synthome.plotting import style
from synthome.plotting.scores import format_number
from synthome.reporting import views

COLOURS = {
    name: getattr(style, name.upper()) for name in ("synthetic", "floor", "ceiling", "cheat")
}


def page_environment() -> Environment:
    """Templates that escape all text from outside and stop at a name that nobody passed."""
    environment = Environment(
        loader=PackageLoader("synthome", "reporting/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": format_number, "count": views.count}
    return environment


def asset(*names: str) -> Markup:
    """Read style sheets or scripts of the package, in order: ours, and so not escaped."""
    folder = files("synthome.reporting").joinpath("templates")
    return Markup("".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names))


def script_hash(script: str) -> str:
    """Name an inline script in a content security policy, so that no other script can run."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def plot_script() -> Markup:
    """The script that draws interactive figures: Plotly's own, and ours that calls it."""
    from plotly.offline import get_plotlyjs

    return Markup("{}\n{}").format(Markup(get_plotlyjs()), asset("plots.js"))


def data_uri(name: str, figure: Figure | bytes) -> str:
    """Write a figure, PNG bytes or SVG bytes as the address of an image that is the image."""
    data = style.png_bytes(figure) if isinstance(figure, Figure) else bytes(figure)
    if data.startswith(b"\x89PNG"):
        kind = "png"
    elif data.lstrip()[:5] in (b"<?xml", b"<svg "):
        kind = "svg+xml"
    else:
        raise InputError(
            f"Figure {name!r} of the report must be a matplotlib Figure, PNG bytes or SVG bytes; "
            f"its first bytes are {data[:8]!r}."
        )
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
