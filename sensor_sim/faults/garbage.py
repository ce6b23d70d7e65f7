"""Payloads that are not readings, or decompression bombs."""

from __future__ import annotations

import gzip
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np


def _repeated(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


GARBAGE: Final[Mapping[str, Callable[[np.random.Generator, int], bytes]]] = MappingProxyType(
    {
        "empty": lambda _rng, _big: b"",
        "random bytes": lambda rng, _big: rng.bytes(200),
        "zero bytes": lambda _rng, _big: b"\x00" * 64,
        "text": lambda _rng, _big: b"hello, is this thing on?",
        "cut JSON": lambda _rng, _big: b'{"time":"2026-09-07T10:05:00Z","pm25":7.',
        "trailing comma": lambda _rng, _big: b'{"pm25":7.1,}',
        "a list": lambda _rng, _big: b"[1,2,3]",
        "a number": lambda _rng, _big: b"42",
        "null": lambda _rng, _big: b"null",
        "no quantity": lambda _rng, _big: b'{"seq":1}',
        "NaN": lambda _rng, _big: b'{"pm25":NaN}',
        "Infinity": lambda _rng, _big: b'{"pm25":-Infinity}',
        "overflow": lambda _rng, _big: b'{"pm25":1e999}',
        "negative": lambda _rng, _big: b'{"pm25":-5}',
        "sentinel": lambda _rng, _big: b'{"rh":65535,"temp":-1000}',
        "number as text": lambda _rng, _big: b'{"pm25":"7.1"}',
        "boolean": lambda _rng, _big: b'{"pm25":true}',
        "object": lambda _rng, _big: b'{"pm25":{"value":7.1}}',
        "duplicate keys": lambda _rng, _big: b'{"pm25":7.1,"pm25":900}',
        "1970": lambda _rng, _big: b'{"time":"1970-01-01T00:00:12Z","pm25":7.1}',
        "2099": lambda _rng, _big: b'{"time":"2099-01-01T00:00:00Z","pm25":7.1}',
        "no time at all": lambda _rng, _big: b'{"time":"yesterday","pm25":7.1}',
        "huge integer": lambda _rng, _big: b'{"pm25":' + b"9" * 5_000 + b"}",
        "deep lists": lambda _rng, big: b"[" * min(big, 100_000),
        "deep objects": lambda _rng, big: _repeated(b'{"a":', min(big, 500_000)),
        "many keys": lambda _rng, big: b'{"a":0' + _repeated(b',"b":1', big) + b"}",
        "many objects": lambda _rng, big: b"[{}" + _repeated(b",{}", big) + b"]",
        "big text": lambda _rng, big: b'{"pm25":7.1,"image":"' + b"A" * big + b'"}',
        "gzip bomb": lambda _rng, big: gzip.compress(b" " * big, mtime=0),
        "bad UTF-8": lambda _rng, _big: b'{"pm25":7.1,"room":"\xff\xfe\xc0\xaf"}',
        "byte order mark": lambda _rng, _big: b'\xef\xbb\xbf{"pm25":7.1}',
        "line feeds": lambda _rng, _big: b'{"pm25":7.1,"sensor":"a\\nlevel=error b"}',
        "formula": lambda _rng, _big: b'{"pm25":7.1,"sensor":"=1+1"}',
    }
)
"""Payloads by name, each a function of a random generator and the size of big ones."""
