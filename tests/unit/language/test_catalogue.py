import ast
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path

import pytest

from language import catalogue
from language.messages import ENGLISH, LANGUAGES

OTHERS = [code for code in LANGUAGES if code != ENGLISH]


@pytest.fixture(scope="module")
def template():
    return catalogue.collect()


@pytest.mark.parametrize("code", OTHERS)
def test_every_message_is_translated_with_its_own_placeholders(code, template):
    assert list(catalogue.find_faults(catalogue.load(code), template)) == []


@pytest.mark.parametrize("code", OTHERS)
def test_the_compiled_catalogue_has_the_messages_of_its_source(code):
    stored = Path(catalogue.__file__).with_name(f"{code}.mo").read_bytes()
    found, wanted = map(GNUTranslations, map(BytesIO, (stored, catalogue.compile_catalogue(code))))
    assert found._catalog == wanted._catalog, "run make messages"


def test_no_message_is_inside_a_formatted_string():
    """Only Python 3.12 and later can extract messages there, so they would stay in English."""
    root = Path(catalogue.__file__).parents[1]
    found = [
        f"{path.relative_to(root)}:{call.lineno}"
        for package in catalogue.PACKAGES
        for path in (root / package).rglob("*.py")
        for text in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(text, ast.JoinedStr)
        for call in ast.walk(text)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("_", "gettext", "ngettext", "mark")
        and isinstance(call.args[0], ast.Constant)
    ]
    assert found == []


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
    known, template = catalogue.Catalog(locale="es"), catalogue.Catalog()
    template.add(source)
    known.add(source, translation)
    assert [f.partition(":")[0] for f in catalogue.find_faults(known, template)] == [fault]


def test_a_message_of_the_code_that_the_catalogue_lacks_is_found():
    known, template = catalogue.Catalog(locale="es"), catalogue.Catalog()
    template.add("Rooms")
    assert list(catalogue.find_faults(known, template)) == ["no translation: 'Rooms'"]
    assert list(catalogue.find_faults(known, catalogue.Catalog())) == ["no longer used: 'Rooms'"]


def test_a_guessed_translation_is_found():
    known, template = catalogue.Catalog(locale="es"), catalogue.Catalog()
    template.add("Rooms")
    known.add("Rooms", "Espacios", flags=["fuzzy"])
    assert list(catalogue.find_faults(known, template)) == ["fuzzy: 'Rooms'"]
