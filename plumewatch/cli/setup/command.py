"""`plumewatch init` and `setup`: make a configuration from a template or a broker's sensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from plumewatch.cli.options import CONFIG, list_examples
from plumewatch.cli.printer import echo
from plumewatch.errors import UsageError

app = typer.Typer()

_SIGN_IN_FILE: Final = "secrets/sign-in"
"""File with the client secret of the sign-in provider."""


@app.command(
    rich_help_panel="Start",
    epilog=list_examples(
        "plumewatch init", 'plumewatch init --district --site "Lincoln Schools" --timezone UTC'
    ),
)
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = CONFIG,
    *,
    site: Annotated[str, typer.Option(help="Name of the school or district.")] = "",
    timezone: Annotated[str, typer.Option(help="Time zone, such as America/New_York.")] = "",
    district: Annotated[
        bool, typer.Option("--district", help="For several schools, listed in CSV tables.")
    ] = False,
    issuer: Annotated[str, typer.Option(help="Address of the sign-in provider.")] = "",
    client_id: Annotated[str, typer.Option(help="Client id from the provider.")] = "",
    hosted_domain: Annotated[str, typer.Option(help="Domain of your Google Workspace.")] = "",
    public_url: Annotated[str, typer.Option(help="Address at which phones reach the page.")] = "",
) -> None:
    """Write a commented starter configuration."""
    from pydantic import ValidationError

    from ingest.mapping.draft import format_toml
    from plumewatch.cli.setup.answers import Answers, find_faults
    from plumewatch.cli.setup.site_files import DISTRICT, STARTER, format_block
    from plumewatch.config.checks import ENTRA, GOOGLE
    from plumewatch.config.sections.common import check_time_zone

    text = DISTRICT if district else STARTER
    for sample, given in {"Northfield": site, "America/New_York": timezone}.items():
        text = text.replace(f'"{sample}"', format_toml(given or sample), 1)
    if public_url:
        sample = f"# public_url = {format_toml('https://plumewatch.example.org')}"
        text = text.replace(sample, f"public_url = {format_toml(public_url)}")
    host = urlsplit(issuer).hostname or ""
    steps = ["put schools.csv and sensors.csv next to it" if district else "edit it"]
    if issuer:
        text += "\n" + format_block(
            "[sign_in]",
            issuer=issuer,
            client_id=client_id,
            client_secret_file=_SIGN_IN_FILE,
            hosted_domain=hosted_domain,
            groups_claim={GOOGLE: "", **dict.fromkeys(ENTRA, "roles")}.get(host, "groups"),
        )
        steps.append(f"write the client secret to {_SIGN_IN_FILE}")
    try:
        Answers(site="any", public_url=public_url)
        check_time_zone(timezone or "UTC")
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except ValidationError as error:
        allowed = find_faults(error)[0].allowed
        raise UsageError(f"--public-url: {public_url!r}: {allowed}") from error
    except ValueError as error:
        raise UsageError(f"--timezone: {timezone!r}: {error}") from error
    except FileExistsError as error:
        raise UsageError(f"{path}: exists already: edit it, or name another file") from error
    echo(f"wrote {path}; next: {', '.join(steps)}, then `plumewatch check --config {path}`")


@app.command(
    rich_help_panel="Start",
    epilog=list_examples(
        "plumewatch setup", "plumewatch setup --answers answers.toml --folder site"
    ),
)
def setup(
    *,
    folder: Annotated[
        Path, typer.Option(help="Where configuration, secrets and accounts go.")
    ] = Path(),
    answers: Annotated[
        Path | None,
        typer.Option(help="TOML file with the answers (docs/install.md); asks you if left out."),
    ] = None,
) -> int:
    """Find sensors on a broker and write configuration and accounts, or add new sensors."""
    from plumewatch.cli.setup.site import set_up

    return set_up(folder.resolve(), answers)
