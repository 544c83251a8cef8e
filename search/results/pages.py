"""Words, tables and figures become HTML pages that need no network."""

import html
from collections.abc import Iterable, Sequence

import plotly.io

from search.results.figures import Picture

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em }
h1 { margin-bottom: 0 } h2 { margin-top: 2em; border-bottom: 1px solid #ddd }
table { border-collapse: collapse } th, td { font-size: 13px; padding: .2em .8em .2em 0; text-align: left; vertical-align: top }
td { border-top: 1px solid #eee } p { max-width: 80ch } .small { color: #666; font-size: 13px } .wide { overflow-x: auto }
"""


def write_page(title: str, parts: Iterable[str]) -> str:
    """Write a whole page.

    Args:
        title: Its title, as plain text.
        parts: What stands below it, as HTML.

    Returns:
        The page.
    """
    name = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{name}</title><style>{STYLE}</style></head>"
        f"<body><h1>{name}</h1>{''.join(parts)}</body></html>"
    )


def write_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a table of plain texts as HTML."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def write_pictures(pictures: Iterable[Picture]) -> tuple[list[str], tuple[str, ...]]:
    """Write all the figures of a page, and what each shows.

    Args:
        pictures: In the order of the page. The library that draws them stands before the first.

    Returns:
        The parts of the page as HTML, and the titles of those pictures that have a figure.
    """
    parts: list[str] = []
    titles: list[str] = []
    for picture in pictures:
        parts += [f"<h2>{picture.title}</h2>", f"<p>{html.escape(picture.text)}</p>"]
        if picture.figure is None:
            parts.append('<p class="small">Too few trials to draw this, or all alike in it.</p>')
            continue
        drawn = plotly.io.to_html(
            picture.figure,
            full_html=False,
            include_plotlyjs=not titles,
            config={"displaylogo": False, "responsive": True},
        )
        parts.append(f'<div class="wide">{drawn}</div>')
        titles.append(picture.title)
    return parts, tuple(titles)
