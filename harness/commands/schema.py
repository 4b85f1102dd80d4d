"""`batch-flash schema`: the files' form, for editors and for the documentation."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--site", is_flag=True, help="The site file's form, in place of the batch file's.")
@click.option("--tables", is_flag=True, help="Tables of keys in Markdown, in place of a JSON Schema.")
def schema(site: bool, tables: bool) -> None:
    """Print the JSON Schema of a batch file, for editors."""
    from harness import schema as form
    from harness.batch import Batch
    from harness.config import Site

    if tables:
        click.echo(form.tables(Site if site else Batch))
    else:
        click.echo(json.dumps(form.site_schema() if site else form.batch_schema(), indent=2, ensure_ascii=False))
