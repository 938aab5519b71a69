"""A message through the fields of a form, and back, without a change that nobody made. Pure."""

from deadletterqueue.changes import Edit, chained, compile_patch, compile_set

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


def edit_of(sets: str, patch: str) -> Edit:
    """Given lines of PATH=VALUE and a JSON Patch, return the change; the patch is applied first, as `edit` does it.
    Raise ValueError if one is not valid, or there is none."""
    lines = [line for line in sets.replace("\r\n", "\n").split("\n") if line.strip()]
    edits = [*([compile_patch(patch)] if patch.strip() else []), *map(compile_set, lines)]
    if not edits:
        raise ValueError("There is no change: enter PATH=VALUE, such as device.id=p-7, or a JSON Patch")
    return chained(edits)
