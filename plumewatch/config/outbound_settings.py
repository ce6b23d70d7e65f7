"""Webhooks, Grafana and CAP as the parts are given them; secrets are read here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from alerts.notify.guarded_http import fault_of_url
from alerts.outbound.webhooks import fault_of_secret
from alerts.policy import Webhook
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.settings import secret_of

if TYPE_CHECKING:
    from alerts.notify.secrets import Secret
    from plumewatch.config.model import PlumewatchConfig


def webhooks(config: PlumewatchConfig) -> tuple[Webhook, ...]:
    """Return the systems that are told of incidents.

    Raises
    ------
    ConfigError
        With every fault of every webhook; no address and no secret is in it.
    """
    faults: list[ConfigFault] = []
    found: list[Webhook] = []
    names: set[str] = set()
    for i, hook in enumerate(config.outbound.webhook):
        place = f"outbound.webhook.{i}"
        if hook.name in names:
            fault = ConfigFault(f"{place}.name", repr(hook.name), "must be unique")
            faults.append(fault)
        names.add(hook.name)
        try:
            url = secret_of(f"{place}.url", file=hook.url_file, env=hook.url_env)
            secret = secret_of(f"{place}.secret", file=hook.secret_file, env=hook.secret_env)
        except ConfigError as error:
            faults += error.faults
            continue
        private = config.alerts.allow_private_targets
        for name, value, fault_text in (
            ("url", "the address", fault_of_url(url.reveal(), allow_private=private)),
            ("secret", "the secret", fault_of_secret(secret.reveal())),
        ):
            if fault_text:
                faults.append(ConfigFault(f"{place}.{name}", value, fault_text))
        found.append(Webhook(hook.name, url, secret, frozenset(k.value for k in hook.kinds)))
    if faults:
        raise ConfigError(faults)
    return tuple(found)


class GrafanaTarget(NamedTuple):
    """Where annotations are written, and by what right."""

    url: str
    token: Secret


def grafana_target(config: PlumewatchConfig) -> GrafanaTarget | None:
    """Return the Grafana that incidents are written into; None if there is none.

    Raises
    ------
    ConfigError
        If its token cannot be read, it has no address, or the extra is not installed.
    """
    asked = config.outbound.grafana
    place = "outbound.grafana"
    if not asked.token_file and not asked.token_env:
        if asked.url:
            allowed = "needs token_file or token_env beside it"
            raise ConfigError([ConfigFault(f"{place}.url", repr(asked.url), allowed)])
        return None
    token = secret_of(f"{place}.token", file=asked.token_file, env=asked.token_env)
    url = asked.url or config.web.grafana_url
    fault = _fault_of_grafana(url, token)
    if fault:
        raise ConfigError([ConfigFault(place, repr(url), fault)])
    return GrafanaTarget(url, token)


def _fault_of_grafana(url: str, token: Secret) -> str:
    if not url:
        return "needs url, or web.grafana_url"
    try:
        from dashboards.grafana import Grafana  # noqa: PLC0415 - an extra
    except ImportError:
        return "needs the extra: pip install 'plumewatch[dashboards]'"
    try:
        Grafana(url, token.reveal())
    except ValueError as error:
        return str(error)
    return ""


def cap_token(config: PlumewatchConfig) -> Secret | None:
    """Token that fetching CAP messages needs; None if only people who are signed in may.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    cap = config.outbound.cap
    if not cap.token_file and not cap.token_env:
        return None
    return secret_of("outbound.cap.token", file=cap.token_file, env=cap.token_env)
