"""``stepwell openapi``: the REST API as a document for programs."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """Print the REST API of this version as an OpenAPI 3.1 document.

    A server has the same at /openapi.json.
    """
    import asyncio

    from stepwell.cli.options import print_json
    from stepwell.server.wiring import api_document

    print_json(asyncio.run(api_document()))
