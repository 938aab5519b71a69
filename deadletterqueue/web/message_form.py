"""A message through the fields of a form, and back, without a change that nobody made. Pure."""

from connectorlib.dataclass import dataclass
from deadletterqueue.changes import Edit, compile_changes

#: Bytes of a body that can be changed in a browser.
LARGEST_BODY = 1024 * 1024


def uneditable(body: bytes) -> str:
    """Return why a body cannot be changed in a text field; "" if it can."""
    if len(body) > LARGEST_BODY:
        return f"it has {len(body):,} bytes"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    if "\0" in text:
        return "it holds a null character"
    # A text field knows one kind of line end.
    if text.replace("\r\n", "").count("\r") or ("\r\n" in text and "\n" in text.replace("\r\n", "")):
        return "its line ends are of several kinds"
    return ""


def edited_text(sent: str, original: bytes) -> str:
    """Return what a person wrote: browsers send all line ends as CRLF."""
    text = sent.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", "\r\n") if b"\r\n" in original else text


@dataclass(frozen=True, slots=True)
class ChangeTexts:
    """One change for many letters, as a person enters it in a form."""

    #: Lines of PATH=VALUE.
    sets: str
    #: Lines of PATH.
    unsets: str
    #: A JSON Patch.
    patch: str

    @property
    def empty(self) -> bool:
        return not any(text.strip() for text in self.fields.values())

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a form by name."""
        return {"sets": self.sets, "unsets": self.unsets, "patch": self.patch}

    def edit(self) -> Edit:
        """Return the change, in the order in which `edit` applies it. Raise ValueError if a text is not valid, or there
        is none."""
        if self.empty:
            raise ValueError("There is no change: enter PATH=VALUE, a PATH to remove, or a JSON Patch")
        return compile_changes(self.patch if self.patch.strip() else None, _lines(self.sets), _lines(self.unsets))


def _lines(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
