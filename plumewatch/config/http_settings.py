"""From ``[ingest.http]`` and ``[[ingest.source]]`` to the HTTP ingest's sources and certificate."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from ingest.decoders import DECODERS
from ingest.http_sources import HttpSource
from ingest.mapping.decoder import PREFIX
from ingest.mapping.topics import TopicFilter
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.settings import secret_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alerts.notify.secrets import Secret
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.sections.ingest import HttpConfig, SourceConfig

SHORTEST_SECRET: Final = 16
"""Characters of a token or signing secret; anyone on the network may guess at them."""


def http_sources(config: PlumewatchConfig) -> tuple[HttpSource, ...]:
    """Senders of the HTTP ingest with their secrets; none if it is off.

    Raises
    ------
    ConfigError
        With every secret that cannot be read, is too short or is another source's too, and with
        a certificate that cannot be used.
    """
    faults: list[ConfigFault] = []
    sources = [_source(i, config, faults) for i in range(len(config.ingest.source))]
    faults.extend(_shared_secrets(sources))
    if sources:
        faults.extend(_certificate_faults(config.ingest.http))
    if faults:
        raise ConfigError(faults)
    return tuple(sources)


def _shared_secrets(sources: Sequence[HttpSource]) -> Iterator[ConfigFault]:
    seen: dict[str, int] = {}
    for i, source in enumerate(sources):
        for secret in (source.token, source.signature):
            if secret is None:
                continue
            first = seen.setdefault(secret.reveal(), i)
            if first != i:
                allowed = f"must be its own, but is also of ingest.source.{first}"
                yield ConfigFault(f"ingest.source.{i}", "a secret", allowed)


def _certificate_faults(http: HttpConfig) -> Iterator[ConfigFault]:
    if http.cert_file is None or http.key_file is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(http.cert_file, http.key_file, password="")
    except (OSError, ValueError) as error:
        yield ConfigFault(
            "ingest.http.cert_file",
            f"{http.cert_file}, {http.key_file}",
            f"must be a certificate and its key, unencrypted, in PEM ({error})",
        )


def _source(index: int, config: PlumewatchConfig, faults: list[ConfigFault]) -> HttpSource:
    written = config.ingest.source[index]
    own = (
        frozenset(written.sensors)
        if written.sensors
        else frozenset(s.id for s in config.sensor if s.decoder == written.decoder)
    )
    return HttpSource(
        name=written.name,
        decoder=written.decoder,
        sensors=own,
        token=_secret(index, written, "token", faults),
        signature=_secret(index, written, "signature", faults),
        strangers=not written.sensors,
        rate_per_s=written.rate_per_s,
        topic=_topic(written.decoder, config),
    )


def _topic(decoder: str, config: PlumewatchConfig) -> str:
    for mapping in config.mapping:
        if decoder == PREFIX + mapping.name:
            return TopicFilter(mapping.topic).pattern
    patterns = DECODERS[decoder].topics
    return patterns[0] if patterns else "+"


def _secret(
    index: int, written: SourceConfig, which: str, faults: list[ConfigFault]
) -> Secret | None:
    files = {"token": written.token_file, "signature": written.signature_file}
    names = {"token": written.token_env, "signature": written.signature_env}
    if not files[which] and not names[which]:
        return None
    path = f"ingest.source.{index}.{which}"
    try:
        secret = secret_of(path, file=files[which], env=names[which])
    except ConfigError as error:
        faults.extend(error.faults)
        return None
    length = len(secret.reveal())
    if length < SHORTEST_SECRET:
        allowed = f"at least {SHORTEST_SECRET} random characters, as `openssl rand -hex 24` gives"
        faults.append(ConfigFault(path, f"{length} characters", allowed))
    return secret
