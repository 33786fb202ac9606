"""Put the page together: one HTML file that asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from lowbitc.cli.report.curves import draw_training
from lowbitc.cli.report.drawing import STEPS, draw_mesh, draw_network
from lowbitc.cli.report.figures import draw_metrics, draw_tiles, draw_verdict
from lowbitc.cli.report.layers import cost_table, error_table, host_table, layer_panels
from lowbitc.cli.report.markup import Child, Html, element, join
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from lowbitc.cli.report.content import Content

_BITS = (8, 4, 2, 1)


def draw_page(content: Content) -> str:
    """Return the page as text."""
    style, script = _read("page.css"), _read("page.js")
    title = f"{content.title}: lowbitc {content.command}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Html(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the layers", href="#layers", class_="skip"),
        _header(content),
        element("main", *_sections(content)),
        _footer(content),
        element("script", Html(script)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en').text}\n"


def _read(name: str) -> str:
    return resources.files("lowbitc.cli.report").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Allow this one script, styles within the page, and nothing from anywhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _header(content: Content) -> Html:
    program = content.program
    said = [
        f"{program.target}, revision {program.target_revision}",
        f"bits {program.options.get('bits', '')}",
        f"{content.samples:,} samples" if content.samples else "",
    ]
    return element(
        "header",
        element(
            "div",
            element("p", f"lowbitc {content.command}", class_="eyebrow"),
            element("h1", content.title),
            element("p", join([x for x in said if x], " · "), class_="fine"),
        ),
        element("button", "Dark", type="button", id="theme", aria_pressed="false", hidden=True),
    )


def _sections(content: Content) -> list[Child]:
    found: list[Child] = [
        element(
            "section",
            element("h2", "Result", class_="hidden"),
            draw_verdict(content),
            draw_metrics(content),
            draw_tiles(content),
            class_="result",
        ),
        element(
            "section",
            element("h2", "Network"),
            element(
                "div",
                element(
                    "div",
                    element(
                        "div",
                        draw_network(content),
                        class_="scroll",
                        tabindex="0",
                        role="region",
                        aria_label="The network's graph",
                    ),
                    _network_legend(content),
                ),
                element(
                    "div",
                    *layer_panels(content),
                    id="panels",
                    class_="panels",
                    data_first=content.first.key if content.first is not None else None,
                ),
                class_="split",
            ),
        ),
        element("section", *_tables(content), id="layers"),
        element("section", *_mesh(content)),
    ]
    if content.training:
        found.append(element("section", *draw_training(content.training)))
    host = host_table(content)
    if host is not None:
        found.append(element("section", element("h2", "On the CPU"), host))
    return found


def _tables(content: Content) -> list[Child]:
    parts: list[Child] = [
        element("h2", "Layers"),
        element(
            "p",
            element("label", "Filter ", for_="filter"),
            element("input", type="search", id="filter", autocomplete="off"),
            element("span", id="count", role="status", class_="fine"),
            class_="tools",
            hidden=True,
        ),
    ]
    if content.comparison is not None:
        parts.append(error_table(content))
    if content.simulation is not None:
        parts.append(cost_table(content))
    return parts


def _network_legend(content: Content) -> Html:
    used = {x.weight_bits or _width(x.output) for x in content.layers}
    names = [
        (f"b{bits}", f"{bits} bit{'' if bits == 1 else 's'}") for bits in _BITS if bits in used
    ]
    if content.program.host_steps:
        names.append(("cpu", "CPU"))
    if content.comparison is not None and content.comparison.first_bad is not None:
        names.append(("mark", "bad"))
    return _legend(names, "Colour: bits of the weights, or of the output where there are none")


def _width(output: str) -> int:
    return int("".join(c for c in output if c.isdigit()) or 0)


def _mesh(content: Content) -> list[Child]:
    pictures = [
        element("figure", picture, element("figcaption", name))
        for name, picture in draw_mesh(content, load_target(content.program.target).mesh)
    ]
    what = "load" if content.simulation is not None else "weight memory"
    shades = [
        (f"np l{i}", f"{100 * i // STEPS} to {100 * (i + 1) // STEPS} %") for i in range(STEPS)
    ]
    return [
        element("h2", "Mesh"),
        element("div", *pictures, class_="meshes"),
        _legend(shades, f"Shade: {what} of an NP, against the busiest"),
        element("p", id="tip", role="status", class_="fine"),
    ]


def _legend(names: list[tuple[str, str]], said: str) -> Html:
    items = (
        element("li", element("span", class_=f"swatch {kind}", aria_hidden="true"), text)
        for kind, text in names
    )
    return element("div", element("p", said), element("ul", *items), class_="legend")


def _footer(content: Content) -> Html:
    program = content.program
    model = (
        "Events and operations are counted; cycles and energy follow from them by the chip's cost "
        "model, and are no measurement. "
        if content.simulation is not None
        else ""
    )
    return element(
        "footer",
        element("p", f"{model}Made by lowbitc {program.tool_version}. Program {program.digest}."),
    )
