"""A page read back: that its tags balance, what it loads, its words and its tables."""

import re
from html.parser import HTMLParser

LOADING = ("src", "href", "xlink:href", "action", "data", "poster", "srcset")


class PageReader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open_tags, self.tags, self.loaded, self.words, self.tables = [], [], [], [], []
        self.is_in_cell = False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [v for name, v in attrs if name in LOADING]
        assert not any(name.startswith("on") for name, _ in attrs), attrs
        if tag not in ("meta", "br"):
            self.open_tags.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append([])
            self.is_in_cell = True

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [v for name, v in attrs if name in LOADING]

    def handle_endtag(self, tag):
        assert self.open_tags, f"</{tag}> closes nothing"
        assert self.open_tags.pop() == tag, f"</{tag}> out of order at {self.getpos()}"
        if tag in ("td", "th"):
            self.is_in_cell = False

    def handle_data(self, data):
        self.words.append(data)
        if self.is_in_cell:
            self.tables[-1][-1][-1].append(data)


def read_page(text):
    """Parse a page; fails where tags do not balance, or anything is loaded from elsewhere."""
    reader = PageReader()
    reader.feed(text)
    reader.close()
    assert not reader.open_tags, f"{reader.open_tags} never closed"
    assert all(value.startswith("#") for value in reader.loaded), reader.loaded
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in reader.loaded} <= set(ids)
    assert not {"script", "link", "iframe", "object", "img"} & set(reader.tags)
    assert "http" not in text.lower()
    assert "url(" not in text
    assert "@import" not in text
    assert "nan" not in re.findall(r'(?:x|y|x1|y1|width|height|d|points)="[^"]*?(nan)', text)
    return reader
