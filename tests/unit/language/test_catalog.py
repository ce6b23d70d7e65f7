import ast
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path

import pytest

from language import catalog
from language.messages import ENGLISH, LANGUAGES

OTHERS = [code for code in LANGUAGES if code != ENGLISH]


@pytest.fixture(scope="module")
def template():
    return catalog.collect()


@pytest.mark.parametrize("code", OTHERS)
def test_every_message_is_translated_with_its_own_placeholders(code, template):
    assert list(catalog.find_faults(catalog.load(code), template)) == []


@pytest.mark.parametrize("code", OTHERS)
def test_the_compiled_catalog_has_the_messages_of_its_source(code):
    stored = Path(catalog.__file__).with_name(f"{code}.mo").read_bytes()
    found, wanted = map(GNUTranslations, map(BytesIO, (stored, catalog.compile_catalog(code))))
    assert found._catalog == wanted._catalog, "run make messages"


def find_messages(within=ast.Module):
    """Yield the place and English text of each message in Python code, or in parts of a kind."""
    root = Path(catalog.__file__).parents[1]
    for package in catalog.PACKAGES:
        for path in (root / package).rglob("*.py"):
            for part in ast.walk(ast.parse(path.read_text("utf-8"))):
                for call in ast.walk(part) if isinstance(part, within) else ():
                    name = getattr(getattr(call, "func", None), "id", "")
                    is_message = name in ("_", "gettext", "ngettext", "mark", "defer")
                    if is_message and isinstance(call.args[0], ast.Constant):
                        yield f"{path.relative_to(root)}:{call.lineno}", call.args[0].value


def test_no_message_is_inside_a_formatted_string():
    """Only Python 3.12 and later can extract messages there, so they would stay in English."""
    assert list(find_messages(ast.JoinedStr)) == []


def test_every_message_is_extracted(template):
    """Texts in a pair of parentheses of their own are not."""
    assert [place for place, text in find_messages() if template.get(text) is None] == []


@pytest.mark.parametrize(
    ("source", "translation", "fault"),
    [
        ("%(name)s is responding", "", "no translation"),
        ("%(name)s is responding", "Responde", "without name"),
        ("%(name)s is responding", "Responde %(nombre)s", "unknown named placeholder 'nombre'"),
        (
            "%(p)d %% vaping",
            "%(p)d % de vapeo",
            "format string mixes positional and named placeholders",
        ),
        (("%(n)d room", "%(n)d rooms"), ("un espacio", ""), "no translation"),
    ],
)
def test_a_faulty_translation_is_found(source, translation, fault):
    known, template = catalog.Catalog(locale="es"), catalog.Catalog()
    template.add(source)
    known.add(source, translation)
    assert [f.partition(":")[0] for f in catalog.find_faults(known, template)] == [fault]


def test_a_message_of_the_code_that_the_catalog_lacks_is_found():
    known, template = catalog.Catalog(locale="es"), catalog.Catalog()
    template.add("Rooms")
    assert list(catalog.find_faults(known, template)) == ["no translation: 'Rooms'"]
    assert list(catalog.find_faults(known, catalog.Catalog())) == ["no longer used: 'Rooms'"]


def test_a_guessed_translation_is_found():
    known, template = catalog.Catalog(locale="es"), catalog.Catalog()
    template.add("Rooms")
    known.add("Rooms", "Espacios", flags=["fuzzy"])
    assert list(catalog.find_faults(known, template)) == ["fuzzy: 'Rooms'"]
