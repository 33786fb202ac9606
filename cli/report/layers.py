"""What is said layer by layer: the tables of cost and error, and one panel a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.cli.report.histograms import draw_histogram
from lowbitc.cli.report.markup import Html, element
from lowbitc.cli.report.tables import Cell, Heading, Row, draw_table
from lowbitc.cli.report.wording import decibels, quantity, share
from lowbitc.compiler.elements import Alphabet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.cli.report.content import Content, LayerView

_COST = (
    Heading("Layer", number=False),
    Heading("Operator", number=False),
    Heading("Weights", "bits of a weight"),
    Heading("Output", "levels that it puts out", number=False),
    Heading("NPs", "neural processors that hold it"),
    Heading("Events", "levels that are not 0 and come in, a frame"),
    Heading("Zeros", "share of the levels that come in that are 0"),
    Heading("Operations", "synaptic operations a frame"),
    Heading("Cycles", "of one frame, by the cost model"),
    Heading("Energy", "of one frame, by the cost model"),
)
_ERROR = (
    Heading("Layer", number=False),
    Heading("Blame", "1 is the layer to look at first"),
    Heading("Excess", "dB of error beyond what its bits must cost; 6 dB are one bit lost"),
    Heading("Alone", "dB of signal to error on exact inputs"),
    Heading("Possible", "dB that its bits could give"),
    Heading("In network", "dB of signal to error of its output in the whole program"),
    Heading("If exact", "dB that the outputs would gain if this layer were exact"),
    Heading("Cosine", "of its output in the program to the float one"),
    Heading("Clipped", "share of float values beyond the clip"),
    Heading("Levels", "used, of those that the output has"),
    Heading("Dead", "channels that are always 0 although float is not"),
)


def cost_table(content: Content) -> Html:
    """Return the table of what each layer does and costs."""
    held = [x for x in content.layers if x.cost is not None]
    most_cycles = max((x.cost.cycles for x in held if x.cost), default=0.0)
    most_energy = max((x.cost.energy_j for x in held if x.cost), default=0.0)
    rows = [_cost_row(x, most_cycles, most_energy) for x in held]
    return draw_table("cost", "What each layer does and costs, a frame", _COST, rows)


def _cost_row(layer: LayerView, most_cycles: float, most_energy: float) -> Row:
    cost = layer.cost
    if cost is None:
        return Row((), layer.key)
    return Row(
        (
            _name(layer),
            Cell(layer.op),
            Cell(str(layer.weight_bits or ""), float(layer.weight_bits)),
            Cell(layer.output),
            Cell(f"{layer.processors:,}", float(layer.processors)),
            Cell(quantity(cost.events), cost.events),
            Cell(share(cost.sparsity), cost.sparsity),
            Cell(quantity(cost.synaptic_ops), cost.synaptic_ops),
            Cell(f"{cost.cycles:,.0f}", cost.cycles, cost.cycles / (most_cycles or 1.0)),
            Cell(quantity(cost.energy_j, "J"), cost.energy_j, cost.energy_j / (most_energy or 1.0)),
        ),
        layer.key,
    )


def error_table(content: Content) -> Html:
    """Return the table of what each layer loses."""
    rows = [_error_row(x) for x in content.layers if x.compared is not None]
    return draw_table(
        "error",
        "What each layer loses against the float model (signal to error in dB)",
        _ERROR,
        rows,
    )


def _error_row(layer: LayerView) -> Row:
    found = layer.compared
    if found is None:
        return Row((), layer.key)
    errors, use = found.errors, found.errors.use
    gain = found.left_out.gain_db if found.left_out is not None else None
    return Row(
        (
            _name(layer),
            Cell(str(found.rank), float(found.rank)),
            Cell(f"{found.excess_db:.1f}", found.excess_db, kind="warn" if found.bad else ""),
            Cell(decibels(errors.local.sqnr_db), errors.local.sqnr_db),
            Cell(decibels(errors.expected_db), errors.expected_db),
            Cell(decibels(errors.accumulated.sqnr_db), errors.accumulated.sqnr_db),
            Cell(f"{gain:+.2f}" if gain is not None else "", gain),
            Cell(f"{errors.accumulated.cosine:.4f}", errors.accumulated.cosine),
            Cell(share(use.clipped_share) if use else "", use.clipped_share if use else None),
            Cell(
                f"{use.used_levels}/{use.levels}" if use else "",
                use.used_levels / use.levels if use else None,
            ),
            Cell(
                f"{use.dead_channels}/{use.channels}" if use and use.channels else "",
                float(use.dead_channels) if use else None,
            ),
        ),
        layer.key,
        bad=found.bad,
    )


def _name(layer: LayerView) -> Cell:
    return Cell(element("a", layer.name, href=f"#{layer.key}"), layer.name)


def host_table(content: Content) -> Html | None:
    """Return the table of what runs on the CPU, and why."""
    nodes = [node for step in content.program.host_steps for node in step.nodes]
    if not nodes:
        return None
    headings = tuple(Heading(title, number=False) for title in ("Node", "Operator", "Because"))
    rows = [Row((Cell(n.name), Cell(n.op), Cell(n.reason))) for n in nodes]
    return draw_table("host", "What runs on the CPU, and why", headings, rows)


def layer_panels(content: Content) -> Iterator[Html]:
    """Yield a section for each layer."""
    for layer in content.layers:
        found = layer.compared
        sources = ", ".join(f"{s.node} ({s.op})" for s in layer.sources)
        yield element(
            "section",
            element("h3", layer.name),
            element("p", f"{layer.op}, from {sources}" if sources else layer.op, class_="fine"),
            element("p", found.cause, class_="cause") if found is not None and found.bad else None,
            _facts(layer),
            *_figures(layer),
            id=layer.key,
            class_="layer",
            tabindex="-1",
            aria_label=layer.name,
        )


def _facts(layer: LayerView) -> Html:
    facts = [("output", layer.output)]
    if layer.weight_bits:
        facts.insert(
            0, ("weights", f"{layer.weight_bits} bit{'s' if layer.weight_bits > 1 else ''}")
        )
    if layer.processors:
        facts.append(("NPs", f"{layer.processors:,}"))
    if layer.cost is not None:
        facts += [
            ("cycles", f"{layer.cost.cycles:,.0f}"),
            ("energy", quantity(layer.cost.energy_j, "J")),
            ("zeros in", share(layer.cost.sparsity)),
        ]
    if layer.compared is not None:
        errors = layer.compared.errors
        facts += [
            ("alone", decibels(errors.local.sqnr_db, " dB")),
            ("possible", decibels(errors.expected_db, " dB")),
            ("in network", decibels(errors.accumulated.sqnr_db, " dB")),
        ]
    return element(
        "dl",
        *(element("div", element("dt", k), element("dd", v)) for k, v in facts),
        class_="facts",
    )


def _figures(layer: LayerView) -> Iterator[Html]:
    shape = layer.outputs
    if shape is not None:
        pact = shape.element.alphabet is Alphabet.UNSIGNED
        clip = shape.scale * shape.element.maximum
        kind = "PACT clip α" if pact else "largest level"
        text = f"Output: {len(shape.shares)} levels, {kind} = {clip:.4g}"
        use = layer.compared.errors.use if layer.compared is not None else None
        if use is not None:
            text += f", best {use.best:.4g}; {share(use.clipped_share)} beyond"
        yield element("figure", draw_histogram(shape, text, clip=clip), element("figcaption", text))
    weights = layer.weights
    if weights is not None:
        odd = weights.element.alphabet is Alphabet.ODD
        kind = "SAWB's odd levels" if odd else "two's complement"
        text = f"Weights: {len(weights.shares)} levels, {kind}, in units of the channel's scale"
        yield element("figure", draw_histogram(weights, text), element("figcaption", text))
