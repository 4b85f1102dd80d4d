"""The schemas and tables in docs/ are those of the models, and the schema accepts what the models accept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from harness import schema
from harness.batch import Batch
from harness.config import SITE_FILE, Site
from tests.harness.lab import MINIMAL
from tests.harness.test_batch_mistakes import MANY_MISTAKES

ROOT = Path(__file__).parents[2]
BATCHES = sorted((ROOT / "batches").glob("*.yaml"))


@pytest.mark.parametrize(
    ("file", "made"), [("batch.schema.json", schema.batch_schema), ("site.schema.json", schema.site_schema)]
)
def test_the_copies_in_docs_are_current(file, made):
    assert json.loads((ROOT / "docs" / file).read_text()) == made(), "run: make schema"


@pytest.mark.parametrize(("heading", "model"), [("The batch file", Batch), ("The site file", Site)])
def test_the_tables_in_docs_are_current(heading, model):
    text = (ROOT / "docs/batch-file.md").read_text()
    begin = f"<!-- begin: {heading} (batch-flash schema --tables) -->\n"
    assert text.split(begin)[1].split("<!-- end -->")[0].strip() == schema.tables(model).strip()


def test_the_batches_shown_in_docs_are_batches():
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/batch-file.md").read_text(), re.DOTALL)
    shown = [yaml.safe_load(block) for block in blocks if "targets:" in block]
    assert len(shown) == 2
    for batch in shown:
        jsonschema.validate(batch, schema.batch_schema())


@pytest.mark.parametrize("made", [schema.batch_schema, schema.site_schema])
def test_every_key_is_described(made):
    undescribed = [
        name
        for properties in _properties(made())
        for name, field in properties.items()
        if name != "fault" and "description" not in field
    ]
    assert undescribed == []


def _properties(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if isinstance(part.get("properties"), dict):
            yield part["properties"]
        for inner in part.values():
            yield from _properties(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _properties(inner)


@pytest.mark.parametrize("path", BATCHES, ids=lambda path: path.name)
def test_an_editor_accepts_the_batches_of_this_repository(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), schema.batch_schema())


def test_an_editor_accepts_the_site_file_of_this_repository():
    jsonschema.validate(yaml.safe_load((ROOT / SITE_FILE).read_text()), schema.site_schema())


def test_an_editor_accepts_the_minimal_batch_and_marks_mistakes():
    validator = jsonschema.Draft202012Validator(schema.batch_schema())
    assert validator.is_valid(yaml.safe_load(MINIMAL))
    assert len(list(validator.iter_errors(yaml.safe_load(MANY_MISTAKES)))) > 5


@pytest.mark.parametrize("path", [*BATCHES, ROOT / SITE_FILE], ids=lambda path: path.name)
def test_each_file_names_its_schema(path):
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
    assert named is not None
    assert (path.parent / named[1]).is_file()
