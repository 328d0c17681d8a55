"""An HTML page as a test reads it: its tags, its text, its IDs and the addresses it asks for."""

import html.parser

# Tags without an end.
_VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(html.parser.HTMLParser):
    """Parses a page, and fails if its tags do not nest.

    Attributes:
      tags: name and attributes of every tag, in order.
      ids: every `id`.
      addresses: every address that a browser would fetch or a link leads to.

    Example:
      >>> page = Page('<p id="a">Two <b>words</b></p>')
      >>> page.text, page.ids
      ('Two words', ['a'])
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str | None] = []
        self.addresses: list[str | None] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"tags without an end: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a tag that ends at once."""
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        """Close a tag."""
        opened = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        """Record text."""
        self._words.append(data)

    @property
    def text(self) -> str:
        """All text of the page, its white space made single."""
        return " ".join(" ".join(self._words).split())
