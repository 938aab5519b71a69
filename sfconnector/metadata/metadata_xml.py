"""The XML of Salesforce's Metadata API. Pure."""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

NAMESPACE = "http://soap.sforce.com/2006/04/metadata"

#: What an element holds: a text, a yes or no, elements by their names; several of one name are a list.
Content = str | bool | int | Mapping[str, "Content"] | Sequence["Content"]


def document(name: str, content: Mapping[str, Content]) -> str:
    """Return a file whose root has this name. The elements are in the order that retrieved files have: by their names,
    and `fullName` first."""
    root = ElementTree.Element(name, {"xmlns": NAMESPACE})
    _fill(root, content)
    ElementTree.indent(root, "    ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def _fill(parent: ElementTree.Element, content: Mapping[str, Content]) -> None:
    for name in sorted(content, key=lambda name: (name != "fullName", name)):
        value = content[name]
        several = isinstance(value, Sequence) and not isinstance(value, str)
        for each in value if several else [value]:  # type: ignore[union-attr]  # a list, as `several` says
            child = ElementTree.SubElement(parent, name)
            if isinstance(each, Mapping):
                _fill(child, each)
            else:
                child.text = str(each).lower() if isinstance(each, bool) else str(each)
