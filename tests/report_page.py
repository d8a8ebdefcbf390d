"""Reads the report's pages as anybody's parser does, and its copies of tables as pandas does."""

import json
from functools import cached_property
from html.parser import HTMLParser

import pandas as pd

VOID = {"meta", "link", "img", "input", "br", "hr", "source"}


class Element:
    """A node of the page: its tag, attributes and children, texts among them."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.children = tag, attributes, []

    @property
    def text(self):
        return "".join(one if isinstance(one, str) else one.text for one in self.children)

    @property
    def words(self):
        return " ".join(self.text.split())

    def all(self, tag=None, **attributes):
        """Every element below with this tag whose attributes (class_ among them) are these."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        for one in self.children:
            if not isinstance(one, str):
                if tag in (None, one.tag) and all(one.attributes.get(name) == value for name, value in wanted.items()):
                    yield one
                yield from one.all(tag, **attributes)

    @property
    def rows(self):
        """The cells of a table's body, row by row."""
        return [list(row.all("td")) for row in self.one("tbody").all("tr")]

    def one(self, tag=None, **attributes):
        (found,) = self.all(tag, **attributes)
        return found


class Page(HTMLParser):
    """A page as a tree; text has its character references resolved."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.root = Element("page", {})
        self.stack = [self.root]
        self.feed(path.read_text(encoding="utf-8"))
        assert self.stack == [self.root], [one.tag for one in self.stack]

    def handle_starttag(self, tag, attributes):
        made = Element(tag, dict(attributes))
        self.stack[-1].children.append(made)
        if tag not in VOID:
            self.stack.append(made)

    def handle_endtag(self, tag):
        assert self.stack.pop().tag == tag, f"{self.path}: {tag} closes another, line {self.getpos()}"

    def handle_data(self, data):
        self.stack[-1].children.append(data)

    @cached_property
    def cards(self):
        found = list(self.root.all("script", id="drivers-data"))
        return json.loads(found[0].text) if found else []

    @cached_property
    def facts(self):
        return json.loads(self.root.one("script", id="study-data").text)

    @property
    def links(self):
        """All that a page names beside itself: addresses of links, pictures, scripts and styles."""
        names = ("href", "src", "srcset", "action", "poster", "data")
        return [one.attributes[name] for one in self.root.all() for name in names if name in one.attributes]


def by_rank(top):
    """The table of top drivers as the page has it: by target, in which they stand in blocks, and rank."""
    blocks = [rows.sort_values("rank", kind="stable") for _, rows in top.groupby("target", sort=False)]
    return pd.concat(blocks, ignore_index=True) if blocks else top


def table(path):
    """A table as the chain writes it: only an empty field is missing."""
    names = dict.fromkeys(("feature", "target"), str)
    separator = "\t" if ".tsv" in path.name else ","
    return pd.read_csv(path, sep=separator, keep_default_na=False, na_values=[""], dtype=names)
