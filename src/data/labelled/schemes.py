"""Schemes of tags: how the words of an entity are marked, and one form of them all.

Each word of an entity has a mark and the entity's kind, as in B-PER, and each other word has O. A scheme is a set of
marks: where an entity begins (B), goes on (I, or M), ends (E, or L), or is one word (S, U, or W):

    IO      I                      IOB1    I, and B where two entities of one kind touch
    IOB2    B I                    IOE     I, and E at the last word
    BIOES   B I E S                BILOU   B I L U
    BMES    B M E S                BMEW    B M E W

Ramshaw and Marcus 1995, arXiv:cmp-lg/9505040 (IOB1); Tjong Kim Sang and Veenstra 1999, arXiv:cs/9907006 (IOB2, IOE);
Ratinov and Roth 2009, "Design Challenges and Misconceptions in Named Entity Recognition", section 2 (BILOU).
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from ...errors import UserError, some
from ...metrics.entities import BEGIN, END, MARKS, split_tag
from .columns import Tagged

OUTSIDE = ("O", "o")
MARK = f"(?P<mark>[{MARKS}{MARKS.lower()}])"
# How a mark and a kind stand in a tag, the usual way first.
FORMS = tuple(
    map(
        re.compile, (rf"{MARK}-(?P<kind>.+)", rf"{MARK}_(?P<kind>.+)", rf"(?P<kind>.+)[-_]{MARK}", rf"{MARK}(?P<kind>)")
    )
)
LIKE_MARKS = re.compile(r"[A-Za-z]{1,2}-.+")
CLOSED = ("BIOES", "BILOU", "BMES", "BMEW")  # which mark beginning and end of each entity
NAMES = {"IO": "I", "IOE": "IE", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES", "BMEW": "BMEW"}


def form_of(places: Mapping[str, str], entities: bool | None) -> re.Pattern[str] | None:
    """How tags of entities are written; None: these mark no entities, as names of parts of speech.

    Args:
        places: of each tag, where it stands first, for messages.
        entities: whether they have to mark entities; None: whether they do is found from them.

    Raises:
        UserError: some tags are those of a scheme, and one is not.
    """
    tags = [tag for tag in places if tag not in OUTSIDE]
    if entities is False or not tags:
        return None
    for form in FORMS:
        found = {match["mark"].upper() for tag in tags if (match := form.fullmatch(tag))}
        if all(map(form.fullmatch, tags)) and (form == FORMS[0] or found & {"B", "I"} or found >= {"S", "E"}):
            return form
    usual = FORMS[0]
    known = [tag for tag in tags if usual.fullmatch(tag)]
    like = all(map(LIKE_MARKS.fullmatch, tags))
    with_o = len(tags) < len(places)
    if entities or 2 * len(known) > len(tags) or (with_o and (known or like)):
        strange = next(tag for tag in tags if not usual.fullmatch(tag))
        raise unmarked(strange, places[strange])
    return None


def plain_tag(tag: str, form: re.Pattern[str]) -> str | None:
    """A tag as mark, dash and kind, or O, or a mark alone; None: it is not of this form."""
    if tag in OUTSIDE:
        return "O"
    match = form.fullmatch(tag)
    return match and "-".join(filter(None, (match["mark"].upper(), match["kind"])))


def plain_tags(found: Tagged, form: re.Pattern[str] | None) -> Tagged:
    """A file with each tag as `plain_tag` gives it; of tags that mark no entities, as they are.

    Args:
        found: the file.
        form: of the tags of training, see `form_of`.

    Raises:
        UserError: a tag has none of the marks.
    """
    if form is None:
        return found
    plain = {}
    for tag, place in found.places.items():
        if (known := plain_tag(tag, form)) is None:
            raise unmarked(tag, place)
        plain[tag] = known
    sentences = [(words, [plain[tag] for tag in tags]) for words, tags in found.sentences]
    places: dict[str, str] = {}
    for tag, place in found.places.items():
        places.setdefault(plain[tag], place)
    return found._replace(sentences=sentences, places=places)


def unmarked(tag: str, place: str) -> UserError:
    """What is said of a tag that is of no scheme."""
    return UserError(
        f"{place}: the tag {some([tag])} has none of the marks {', '.join(MARKS)} before its kind, as B-PER has, and "
        "is not O: mend it, or say data.entities=false if the tags mark no entities"
    )


def kind_of(tag: str) -> str | None:
    """The kind of entity that a tag marks in any form; None: it marks none, O has the kind ''."""
    if tag in OUTSIDE:
        return ""
    return next((match["kind"] for form in FORMS if (match := form.fullmatch(tag))), None)


def to_iob2(tags: Sequence[str]) -> list[str]:
    """Tags of any scheme as IOB2: B- at the first word of each entity, and I- at its others.

    An entity begins at B, S, U and W, and at any other mark behind O, another kind, or the end of an entity.

    >>> to_iob2(["I-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-ORG"])
    ['B-PER', 'I-PER', 'O', 'B-LOC', 'B-LOC', 'B-ORG']
    >>> to_iob2(["B-PER", "E-PER", "S-PER", "U-LOC", "I-LOC", "L-LOC"])
    ['B-PER', 'I-PER', 'B-PER', 'B-LOC', 'B-LOC', 'I-LOC']
    """
    found = []
    before, kind_before = "O", ""
    for tag in tags:
        mark, kind = split_tag(tag) or ("O", "")
        if mark == "O":
            found.append(tag)
        else:
            begins = mark in BEGIN or before == "O" or before in END or kind != kind_before
            found.append("-".join(filter(None, ("B" if begins else "I", kind))))
        before, kind_before = mark, kind
    return found


def scheme_name(sentences: Iterable[Sequence[str]]) -> str:
    """What people call the scheme of tags as `plain_tag` gives them.

    >>> scheme_name([["I-PER", "O", "I-PER", "B-PER"]]), scheme_name([["B-PER", "I-PER"]])
    ('IOB1', 'IOB2')
    >>> scheme_name([["S-PER", "O"]]), scheme_name([["I-PER", "O"]]), scheme_name([["U-PER", "S-PER"]])
    ('BIOES', 'IO', 'marks S, U')
    """
    marks, same = set[str](), True
    for tags in sentences:
        marks.update(tag[0] for tag in tags if tag != "O")
        same = same and list(tags) == to_iob2(tags)
    if "B" in marks and marks <= {"B", "I"}:
        return "IOB2" if same else "IOB1"
    known = (name for name, of_it in NAMES.items() if marks <= set(of_it))
    return next(known, f"marks {', '.join(sorted(marks))}")


def out_of_order(sentences: Iterable[Sequence[str]]) -> int:
    """How many tags go on with no entity, or break one off, where a scheme marks beginnings and ends."""
    count = 0
    for tags in sentences:
        parts = [split_tag(tag) or ("O", "") for tag in (*tags, "O")]
        inside, kind_inside = False, ""
        for mark, kind in parts:
            goes_on = mark in "IMEL" and kind == kind_inside
            count += (inside and not goes_on) + (not inside and mark in "IMEL")
            inside, kind_inside = mark in "BIM", kind
    return count


def classes_of(tags: Collection[str], entities: bool) -> list[str]:
    """The classes of tags, sorted: of IOB2 with O among them, and each kind of entity with both its tags.

    Args:
        tags: the different ones.
        entities: whether they are of IOB2, or mark no entities.
    """
    if not entities:
        return sorted(tags)
    kinds = {parts[1] for tag in tags if (parts := split_tag(tag))}
    return sorted({"O"} | {"-".join(filter(None, (mark, kind))) for kind in kinds for mark in "BI"})


def require_known(tags: Collection[str], places: Mapping[str, str], classes: Sequence[str]) -> None:
    """Refuse tags that training does not have.

    Args:
        tags: of a file.
        places: of each tag as it stands there, where it does first.
        classes: of the training.

    Raises:
        UserError: there is one; it is named with a line.
    """
    for tag in sorted(set(tags) - set(classes)):
        kind = (split_tag(tag) or ("", ""))[1]
        place = places.get(tag) or next(place for name, place in places.items() if name.endswith(kind))
        raise UserError(f"{place}: the tag {some([tag])} is none of those of training: {some(classes)}")
