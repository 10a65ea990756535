"""CITATION.cff is of this version and as its format demands; the forms of issues are forms."""

from typing import Any

import yaml
from helpers import REPOSITORY

from torchatlas.version import __version__

TEMPLATES = REPOSITORY / ".github" / "ISSUE_TEMPLATE"
# The keys of version 1.2.0 of the Citation File Format, github.com/citation-file-format, schema.json.
KNOWN = {
    "abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords",
    "license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact",
    "repository-code", "title", "type", "url", "version",
}  # fmt: skip


def test_the_citation() -> None:
    text: dict[str, Any] = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert set(text) <= KNOWN
    assert {"cff-version", "message", "title", "authors"} <= set(text)
    assert text["cff-version"] == "1.2.0"
    assert text["version"] == __version__
    assert text["type"] in ("software", "dataset")
    assert text["authors"]
    assert all(set(author) <= {"name", "website"} for author in text["authors"])  # an entity, no person


def test_the_forms() -> None:
    forms = [path for path in TEMPLATES.glob("*.yml") if path.name != "config.yml"]
    assert len(forms) >= 3
    for path in forms:
        form: dict[str, Any] = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= set(form)
        inputs = [part for part in form["body"] if part["type"] != "markdown"]
        assert all(part["type"] in ("input", "textarea", "dropdown", "checkboxes") for part in inputs)
        assert all(part["attributes"]["label"] for part in inputs)
        names = [part["id"] for part in inputs]
        assert len(set(names)) == len(names)
