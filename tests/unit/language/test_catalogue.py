import pytest

from language import catalogue
from language.messages import ENGLISH, LANGUAGES

PERCENT = "a percent sign that is neither a placeholder nor %%"
OTHERS = [code for code in LANGUAGES if code != ENGLISH]


@pytest.fixture(scope="module")
def template():
    return catalogue.collected()


@pytest.mark.parametrize("code", OTHERS)
def test_every_message_is_translated_with_its_own_placeholders(code, template):
    assert list(catalogue.faults(catalogue.load(code), template)) == []


@pytest.mark.parametrize(
    ("source", "translation", "fault"),
    [
        ("%(name)s is responding", "", "no translation"),
        ("%(name)s is responding", "Responde", "other placeholders"),
        ("%(name)s is responding", "Responde %(nombre)s", "other placeholders"),
        (
            "%(p)d %% vaping",
            "%(p)d % de vapeo",
            "a percent sign that is neither a placeholder nor %%",
        ),
        (("%(n)d room", "%(n)d rooms"), ("un espacio", ""), "no translation"),
    ],
)
def test_a_faulty_translation_is_found(source, translation, fault):
    known, template = catalogue.Catalog(locale="es"), catalogue.Catalog()
    template.add(source)
    known.add(source, translation)
    assert [f.partition(":")[0] for f in catalogue.faults(known, template)] == [fault]


def test_a_message_of_the_code_that_the_catalogue_lacks_is_found():
    known, template = catalogue.Catalog(locale="es"), catalogue.Catalog()
    template.add("Rooms")
    assert list(catalogue.faults(known, template)) == ["not in the catalogue: 'Rooms'"]
    assert list(catalogue.faults(template, known)) == ["no longer used: 'Rooms'"]


def test_a_guessed_translation_is_found():
    known, template = catalogue.Catalog(locale="es"), catalogue.Catalog()
    template.add("Rooms")
    known.add("Rooms", "Espacios", flags=["fuzzy"])
    assert list(catalogue.faults(known, template)) == ["fuzzy: 'Rooms'"]
