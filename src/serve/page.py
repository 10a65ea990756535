"""The page to try a network in a browser: one answer that asks no other address for anything."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files


@cache
def page() -> str:
    """The page, with its style and its program in it."""
    home = files(__package__)
    parts = {name: (home / f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    style, program = f"<style>{parts['css']}</style>", f"<script>{parts['js']}</script>"
    return parts["html"].replace("<!-- style -->", style).replace("<!-- program -->", program)


def policy(text: str) -> str:
    """What the page may do, as a Content-Security-Policy: its own program and style, and questions to its own address.

    >>> policy("<style>a</style><script>b</script>").count("sha256-")
    2
    """
    style, program = (
        "'sha256-" + base64.b64encode(hashlib.sha256(found.encode()).digest()).decode() + "'"
        for found in (re.findall(rf"(?s)<{tag}>(.*?)</{tag}>", text)[0] for tag in ("style", "script"))
    )
    return (
        f"default-src 'none'; script-src {program}; style-src {style}; img-src data: blob:; media-src blob:; "
        "connect-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
