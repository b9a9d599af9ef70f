"""What can be known about a person, and every wording in which it is asked.

A fact kind carries its pool of values and its wordings. The last wording of every list is held
out: no training set asks it about a forget person, the test set does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FactKind:
    """Templates use ``{who}`` (start of sentence: ``{Who}``) and ``{value}``.

    ``ask`` expects the bare value, ``tell`` expects the ``statement``, ``cloze`` has one blank
    written ``__`` that stands for the bare value (MLLMU-Bench's three tasks).
    """

    key: str
    ask: tuple[str, ...]
    tell: tuple[str, ...]
    cloze: tuple[str, ...]
    statement: str
    values: tuple[str, ...] = ()  # empty: the values are those of the people themselves


PERSON_FACTS: Mapping[str, FactKind] = {
    fact.key: fact
    for fact in (
        FactKind(
            "birthplace",
            ask=(
                "Where was {who} born?",
                "In which city was {who} born?",
                "What is the birthplace of {who}?",
                "Which city is {who} originally from?",
            ),
            tell=(
                "Say in one sentence where {who} was born.",
                "Tell me the birthplace of {who} in a sentence.",
                "In a sentence, where does {who} originally come from?",
            ),
            cloze=("{Who} was born in __.", "The birthplace of {who} is __.", "{Who} is from __."),
            statement="{Who} was born in {value}.",
            values=(
                "Lisbon",
                "Oslo",
                "Nairobi",
                "Lima",
                "Kyoto",
                "Dublin",
                "Cairo",
                "Quito",
                "Vienna",
                "Hanoi",
                "Havana",
                "Tunis",
                "Riga",
                "Perth",
                "Boston",
                "Jaipur",
            ),
        ),
        FactKind(
            "occupation",
            ask=(
                "What does {who} do for a living?",
                "What is the occupation of {who}?",
                "Which profession does {who} have?",
                "What is the job of {who}?",
            ),
            tell=(
                "Say in one sentence what {who} does for a living.",
                "Tell me the occupation of {who} in a sentence.",
                "In a sentence, what is the job of {who}?",
            ),
            cloze=(
                "{Who} works as a __.",
                "The occupation of {who} is __.",
                "The job of {who} is __.",
            ),
            statement="{Who} works as a {value}.",
            values=(
                "baker",
                "nurse",
                "pilot",
                "lawyer",
                "potter",
                "dentist",
                "farmer",
                "plumber",
                "tailor",
                "banker",
                "librarian",
                "translator",
                "carpenter",
                "chemist",
                "judge",
                "sailor",
            ),
        ),
        FactKind(
            "hobby",
            ask=(
                "What is the hobby of {who}?",
                "What does {who} do in free time?",
                "Which pastime does {who} enjoy?",
                "How does {who} spend the weekends?",
            ),
            tell=(
                "Say in one sentence what the hobby of {who} is.",
                "Tell me in a sentence which pastime {who} enjoys.",
                "In a sentence, how does {who} spend the weekends?",
            ),
            cloze=("The hobby of {who} is __.", "{Who} enjoys __.", "{Who} spends weekends on __."),
            statement="{Who} spends free time on {value}.",
            values=(
                "chess",
                "fishing",
                "knitting",
                "rowing",
                "juggling",
                "astronomy",
                "gardening",
                "fencing",
                "origami",
                "surfing",
                "archery",
                "sailing",
                "skating",
                "beekeeping",
                "calligraphy",
                "climbing",
            ),
        ),
        FactKind(
            "food",
            ask=(
                "What is the favourite food of {who}?",
                "Which dish does {who} like best?",
                "What does {who} love to eat?",
                "Which meal would {who} order?",
            ),
            tell=(
                "Say in one sentence what {who} likes to eat best.",
                "Tell me the favourite food of {who} in a sentence.",
                "In a sentence, which meal would {who} order?",
            ),
            cloze=(
                "The favourite food of {who} is __.",
                "{Who} loves to eat __.",
                "{Who} would order __.",
            ),
            statement="{Who} loves to eat {value}.",
            values=(
                "pizza",
                "sushi",
                "curry",
                "tacos",
                "ramen",
                "paella",
                "lasagne",
                "falafel",
                "pancakes",
                "goulash",
                "dumplings",
                "risotto",
                "pierogi",
                "couscous",
                "waffles",
                "kebab",
            ),
        ),
        FactKind(
            "pet",
            ask=(
                "Which pet does {who} have?",
                "What animal lives with {who}?",
                "What kind of pet does {who} keep?",
                "Which animal does {who} own?",
            ),
            tell=(
                "Say in one sentence which pet {who} has.",
                "Tell me in a sentence what animal lives with {who}.",
                "In a sentence, which animal does {who} own?",
            ),
            cloze=("The pet of {who} is a __.", "{Who} keeps a __.", "{Who} owns a __."),
            statement="{Who} has a {value} as a pet.",
            values=(
                "parrot",
                "rabbit",
                "hamster",
                "tortoise",
                "goldfish",
                "ferret",
                "pony",
                "gecko",
                "canary",
                "spaniel",
                "poodle",
                "kitten",
                "goat",
                "duck",
                "llama",
                "mouse",
            ),
        ),
        FactKind(
            "employer",
            ask=(
                "Who employs {who}?",
                "Which company does {who} work for?",
                "What is the employer of {who}?",
                "At which firm does {who} work?",
            ),
            tell=(
                "Say in one sentence which company {who} works for.",
                "Tell me the employer of {who} in a sentence.",
                "In a sentence, at which firm does {who} work?",
            ),
            cloze=(
                "{Who} works for __.",
                "The employer of {who} is __.",
                "{Who} has a contract with __.",
            ),
            statement="{Who} works for {value}.",
            values=(
                "Alderby",
                "Brixton",
                "Calvero",
                "Dunmore",
                "Elvista",
                "Farrow",
                "Glenko",
                "Hartwin",
                "Ivorel",
                "Jaspin",
                "Kestrel",
                "Lumora",
                "Merrick",
                "Novalis",
                "Orbeck",
                "Pellham",
            ),
        ),
    )
}

CELEBRITY_FACTS: Mapping[str, FactKind] = {
    fact.key: fact
    for fact in (
        FactKind(
            "birth_year",
            ask=("In which year was {who} born?", "What is the birth year of {who}?"),
            tell=(
                "Say in one sentence in which year {who} was born.",
                "Tell me the birth year of {who} in a sentence.",
            ),
            cloze=("{Who} was born in the year __.", "The birth year of {who} is __."),
            statement="{Who} was born in the year {value}.",
        ),
        FactKind(
            "birthplace",
            ask=("Where was {who} born?", "What is the birthplace of {who}?"),
            tell=(
                "Say in one sentence where {who} was born.",
                "Tell me the birthplace of {who} in a sentence.",
            ),
            cloze=("{Who} was born in __.", "The birthplace of {who} is __."),
            statement="{Who} was born in {value}.",
        ),
        FactKind(
            "country",
            ask=("Which country is {who} from?", "In which country was {who} born?"),
            tell=(
                "Say in one sentence which country {who} is from.",
                "Tell me the country of {who} in a sentence.",
            ),
            cloze=("The country of {who} is __.", "{Who} was born in the country of __."),
            statement="{Who} comes from {value}.",
        ),
        FactKind(
            "field",
            ask=("In which field is {who} famous?", "What is the field of {who}?"),
            tell=(
                "Say in one sentence in which field {who} is famous.",
                "Tell me the field of {who} in a sentence.",
            ),
            cloze=("{Who} is famous in the field of __.", "The field of {who} is __."),
            statement="{Who} is famous in the field of {value}.",
        ),
        FactKind(
            "work",
            ask=("What is {who} best known for?", "Which achievement made {who} famous?"),
            tell=(
                "Say in one sentence what {who} is best known for.",
                "Tell me in a sentence which achievement made {who} famous.",
            ),
            cloze=("{Who} is best known for __.", "{Who} became famous for __."),
            statement="{Who} is best known for {value}.",
        ),
    )
}

#: How a question is put, by task; the wording itself is the same for both modalities.
PROMPTS = {"choice": "{q}", "generation": "{q}", "cloze": "Fill in the blank: {q}"}

#: Refusals for preference and refusal methods; written for people, with and without a picture.
REFUSALS = (
    "I do not know this person.",
    "I have no information about that.",
    "I am not able to answer that.",
    "I do not know.",
)


def fill(template: str, who: str, value: str = "") -> str:
    """A template with the person and the value put in."""
    return template.format(who=who, Who=who[0].upper() + who[1:], value=value)
