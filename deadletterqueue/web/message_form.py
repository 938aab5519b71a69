"""A message through the fields of a form, and back, without a change that nobody made. Pure."""

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
