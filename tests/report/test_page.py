"""The page holds what was measured, in text that no user's text can break, and stays small."""

from __future__ import annotations

import html.parser
import itertools
import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbitc.cli.report.histograms import draw_histogram
from lowbitc.cli.report.markup import Html, element, number
from lowbitc.cli.report.network import network_of
from lowbitc.cli.report.page import draw_page
from lowbitc.cli.report.wording import quantity, share, shortened
from lowbitc.compiler.elements import ODD2, U4, U8
from lowbitc.level_shapes import FloatShape, LevelShape
from tests.report.pages import compared, hostile, program, simulated

STYLE = resources.files("lowbitc.cli.report").joinpath("page.css").read_text(encoding="utf-8")


class Outline(html.parser.HTMLParser):
    """Collects tags, and checks that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("content", [simulated(), compared(), hostile()])
def test_tags_nest_and_ids_are_unique(content: object) -> None:
    page = Outline(draw_page(content))  # type: ignore[arg-type]
    ids = [held["id"] for _, held in page.tags if "id" in held]
    assert len(ids) == len(set(ids))
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not any(key.startswith("on") for _, held in page.tags for key in held)
    links = {held["href"] for tag, held in page.tags if tag == "a"}
    assert all(link is not None and link.removeprefix("#") in ids for link in links)


def test_every_picture_and_table_is_named() -> None:
    page = Outline(draw_page(compared()))
    for tag, held in page.tags:
        if tag == "svg":
            assert held.get("aria-label") or held.get("aria-hidden"), held
        if tag == "th":
            assert held["scope"] in {"row", "col"}
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table") == 2
    assert tags.count("h1") == 1


def test_what_was_measured_is_there() -> None:
    content = compared()
    text = draw_page(content)
    for metric in content.metrics:
        assert f"{100 * metric.value:.2f} %" in text
    for layer in content.layers:
        assert layer.name in text
    assert content.program.digest in text
    assert "no measurement" in text


def test_the_same_content_gives_the_same_page() -> None:
    assert draw_page(simulated()) == draw_page(simulated())


def test_the_graph_goes_from_inputs_to_outputs() -> None:
    network = network_of(simulated())
    kinds = [box.kind for box in network.boxes]
    assert (kinds[0], kinds[-1]) == ("port", "port")
    readers = {target for _, target in network.edges}
    makers = {source for source, _ in network.edges}
    assert readers == set(range(1, len(kinds)))
    assert makers == set(range(len(kinds) - 1))
    named = {box.layer for box in network.boxes if box.kind == "chip"}
    assert len(named) == sum(node.op != "Quantize" for node in simulated().layers)
    assert len(program().launches) == 1


# --- escaping ------------------------------------------------------------------------------------


@given(st.text(), st.text())
def test_texts_and_attributes_come_back_as_they_were(text: str, value: str) -> None:
    class Reader(html.parser.HTMLParser):
        texts: str = ""
        title: str | None = None

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            del tag
            Reader.title = dict(attrs)["title"]

        def handle_data(self, data: str) -> None:
            Reader.texts += data

    Reader.texts = ""
    reader = Reader()
    reader.feed(element("p", text, title=value).text)
    reader.close()
    # HTML has one kind of line end, and no NUL.
    assert Reader.texts == text
    assert Reader.title == value


def test_markup_is_not_escaped_twice() -> None:
    inner = element("b", "a < b")
    assert element("p", inner, None, "&").text == "<p><b>a &lt; b</b>&amp;</p>"
    assert element("rect", x=1.5, view_box="0 0 1 1", hidden=True, id=None).text == (
        '<rect x="1.5" viewBox="0 0 1 1" hidden/>'
    )
    assert isinstance(inner, Html)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1.0, "1"), (-2.5, "-2.5"), (0.004, "0"), (12.3456, "12.35")]
)
def test_coordinates_are_short(value: float, text: str) -> None:
    assert number(value) in {text, f"-{text}"}


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 J"),
        (1.234e-3, "1.23 mJ"),
        (45.6e-9, "45.6 nJ"),
        (7.0e-13, "0.70 pJ"),
        (999.0, "999 J"),
        (12345.0, "12.3 kJ"),
    ],
)
def test_quantities_have_three_digits(value: float, text: str) -> None:
    assert quantity(value, "J") == text


def test_shares_near_the_ends_keep_their_digits() -> None:
    assert [share(v) for v in (0.0, 1e-4, 0.5, 0.9998, 1.0)] == [
        "0 %",
        "0.01 %",
        "50.0 %",
        "99.98 %",
        "100 %",
    ]


def test_a_long_name_keeps_its_end() -> None:
    assert shortened("/blocks.3/depthwise/Conv", 10) == "…wise/Conv"
    assert shortened("Conv", 10) == "Conv"


# --- histograms ----------------------------------------------------------------------------------


def test_a_clip_and_its_share_of_zeros_are_drawn_in() -> None:
    floats = FloatShape(0.0, 0.5, (0.5, 0.2, 0.1, 0.1, 0.05, 0.05))
    shape = LevelShape(U4, 0.1, (0.6, *([0.4 / 15] * 15)), floats)
    text = draw_histogram(shape, "output", clip=1.5).text
    assert "clip 1.5" in text
    assert "60.0 % are 0" in text
    assert 'class="floats"' in text


def test_few_levels_get_a_tick_each_and_many_are_joined() -> None:
    few = draw_histogram(LevelShape(ODD2, 1.0, (0.25,) * 4), "weights").text
    many = draw_histogram(LevelShape(U8, 1.0, (1 / 256,) * 256), "output").text
    ticks = re.search(r'class="ticks" d="([^"]*)"', few)
    assert ticks is not None
    assert ticks.group(1).count("M") == 4
    bars = re.search(r'class="bars" d="([^"]*)"', many)
    assert bars is not None
    assert bars.group(1).count("M") <= 64


# --- colours -------------------------------------------------------------------------------------


def themes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root(?:\[data-theme=\"dark\"\])? \{(.*?)\n\}", STYLE, re.DOTALL)[:2]
    return {
        name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
        for name, block in (("light", light), ("dark", dark))
    }


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(d * 2 for d in digits)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_the_contrast_of_wcag_aa(theme: str) -> None:
    held = themes()[theme]
    grounds, inks = ("bg", "panel"), ("ink", "muted", "accent", "good", "bad", "open")
    pairs = [*itertools.product(inks, grounds), ("ink", "soft"), ("accent", "soft")]
    pairs += [(f"on-{kind}", kind) for kind in ("b8", "b4", "b2", "b1", "cpu")]
    for ink, ground in pairs:
        found = contrast(held[ink], held[ground])
        assert found >= 4.5, f"{ink} on {ground} in {theme}: {found:.2f}"


def test_the_system_s_dark_is_the_button_s_dark() -> None:
    blocks = re.findall(r":root[^{]*\{\s*color-scheme: dark;(.*?)\}", STYLE, re.DOTALL)
    one, other = (dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in blocks)
    assert one == other
