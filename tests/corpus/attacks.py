"""Bodies that are made to cost much more than their size: each is a function of how many bytes it may have."""

from collections.abc import Callable, Mapping
from itertools import pairwise

Attack = Callable[[int], bytes]


def repeated(part: bytes, *, begin: bytes = b"", end: bytes = b"") -> Attack:
    return lambda size: begin + part * max(1, (size - len(begin) - len(end)) // len(part)) + end


def counted(part: bytes, *, begin: bytes = b"", between: bytes = b"", end: bytes = b"") -> Attack:
    """Parts with a number in each, so that all differ."""

    def body(size: int) -> bytes:
        length = len(part % 100_000) + len(between)
        return begin + between.join(part % number for number in range(size // length)) + end

    return body


def nested(opening: bytes, closing: bytes = b"", inner: bytes = b"") -> Attack:
    def body(size: int) -> bytes:
        levels = size // (len(opening) + len(closing))
        return opening * levels + inner + closing * levels

    return body


def laughs(size: int) -> bytes:
    """Entities of entities: a billion times the text for ten lines, and padding up to the size."""
    names = [b"e%d" % number for number in range(10)]
    entities = [b'<!ENTITY e0 "ha">'] + [
        b'<!ENTITY %s "%s">' % (name, b"&%s;" % before * 10) for before, name in pairwise(names)
    ]
    return b"<!DOCTYPE r [%s]><r>&e9;<!--%s--></r>" % (b"".join(entities), b"x" * max(0, size - 1000))


def blow_up(size: int) -> bytes:
    """One long entity, many times."""
    return b'<!DOCTYPE r [<!ENTITY x "%s">]><r>%s</r>' % (b"x" * (size // 2), b"&x;" * (size // 6))


ATTACKS: Mapping[str, Mapping[str, Attack]] = {
    "json": {
        "lists in lists": nested(b"[", b"]"),
        "objects in objects": nested(b'{"a":', b"}", b"1"),
        "open lists": nested(b"["),
        "empty lists": repeated(b"[],", begin=b'{"a":[', end=b"1]}"),
        "empty objects": repeated(b"{},", begin=b'{"a":[', end=b"1]}"),
        "names": counted(b'"%d":1', begin=b"{", between=b",", end=b"}"),
        "the last name again": counted(b'"%d":1', begin=b"{", between=b",", end=b',"0":1}'),
        "long integers": repeated(b"9" * 4300 + b",", begin=b'{"a":[', end=b"1]}"),
        "one long integer": repeated(b"9", begin=b"[", end=b"]"),
        "long fractions": repeated(b"0." + b"9" * 4000 + b",", begin=b'{"a":[', end=b"1]}"),
        "one long fraction": repeated(b"9", begin=b"[0.", end=b"]"),
        "exponents": repeated(b"1e-308,", begin=b'{"a":[', end=b"1]}"),
        "surrogate pairs": repeated(b"\\ud83d\\ude00", begin=b'["', end=b'"]'),
        "halves of pairs": repeated(b"\\ud83d", begin=b'["', end=b'"]'),
        "backslashes": repeated(b"\\\\", begin=b'["', end=b'"]'),
        "an open text": repeated(b"\\\\", begin=b'["'),
        "white space": repeated(b" \n", end=b"1"),
        "records": repeated(b"{},", begin=b"[", end=b"{}]"),
    },
    "xml": {
        "billion laughs": laughs,
        "quadratic blow-up": blow_up,
        "levels": nested(b"<a>", b"</a>"),
        "open levels": nested(b"<a>"),
        "elements": repeated(b"<a/>", begin=b"<r>", end=b"</r>"),
        "different elements": counted(b"<a%d/>", begin=b"<r>", end=b"</r>"),
        "attributes": counted(b' a%d=""', begin=b"<r", end=b"/>"),
        "attributes of many elements": repeated(b'<b a="" b="" c=""/>', begin=b"<r>", end=b"</r>"),
        "one huge attribute": repeated(b"x", begin=b'<r a="', end=b'"/>'),
        "one huge name": repeated(b"a", begin=b"<", end=b"/>"),
        "huge names": counted(b"<" + b"a" * 1000 + b"%d/>", begin=b"<r>", end=b"</r>"),
        "namespaces": counted(b' xmlns:a%d="u"', begin=b"<r", end=b"/>"),
        "namespaces in levels": counted(b'<a xmlns:b%d="u">', begin=b"<r>", end=b""),
        "one huge text": repeated(b"x", begin=b"<r>", end=b"</r>"),
        "pieces of text": repeated(b"x<!---->", begin=b"<r>", end=b"</r>"),
        "tails": repeated(b"<a/>x", begin=b"<r>", end=b"</r>"),
        "character references": repeated(b"&#65;", begin=b"<r>", end=b"</r>"),
        "comments": repeated(b"<!--a-->", begin=b"<r>", end=b"</r>"),
        "instructions": repeated(b"<?a?>", begin=b"<r>", end=b"</r>"),
        "sections": repeated(b"<![CDATA[a]]>", begin=b"<r>", end=b"</r>"),
        "brackets": repeated(b"]]&gt;", begin=b"<r>", end=b"</r>"),
        "escaped names": counted(b"<_x0041__x0042__x0043_%d/>", begin=b"<r>", end=b"</r>"),
    },
    "csv": {
        "quotes": repeated(b'"'),
        "pairs of quotes": repeated(b'""', begin=b'"', end=b'",,'),
        "delimiters": repeated(b","),
        "line ends": repeated(b"\n"),
        "an open quote": repeated(b"a,\n", begin=b'"'),
        "quoted line ends": repeated(b'"\n",,\n'),
        "records": repeated(b"a,b,c\n"),
        "one huge field": repeated(b"x", end=b",,"),
        "carriage returns": repeated(b"\r"),
    },
}

#: What a body of the format looks like when nobody means harm.
PLAIN: Mapping[str, Attack] = {
    "json": repeated(b'{"id":12345,"device":"pump-7","value":1.5},', begin=b'{"all":[', end=b"null]}"),
    "xml": repeated(b"<e><id>12345</id><device>pump-7</device><value>1.5</value></e>", begin=b"<r>", end=b"</r>"),
    "csv": lambda size: (b'12345,"pump ""7""",' + b"x" * max(1, size // 9000 - 20) + b"\n") * 9000,
}
