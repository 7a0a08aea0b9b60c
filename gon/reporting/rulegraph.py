"""Draw the workflow as Snakemake sees it."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import networkx as nx

from gon.claims.figures import TEXT_WIDTH, save_figure, style
from gon.errors import GonError
from gon.files import read_text

_LARGEST_GRAPH = 64 * 1024
"""Bytes; a rule is a line, however many runs it has."""


def read_graph(path: Path) -> "nx.DiGraph[str]":
    """Read what ``snakemake --rulegraph`` prints: rules, and which needs what another makes.

    Raises
    ------
    GonError
        If the file cannot be read, or is not such a graph; names it.
    """
    text = read_text(path, _LARGEST_GRAPH)
    labels = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', text, re.MULTILINE))
    edges = re.findall(r"^\s*(\d+) -> (\d+)$", text, re.MULTILINE)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(labels.values())
    graph.add_edges_from((labels[a], labels[b]) for a, b in edges if a in labels and b in labels)
    if not nx.is_directed_acyclic_graph(graph) or not graph:
        raise GonError(f"{path}: not a graph of rules; expected what `snakemake --rulegraph` prints")
    return graph


def draw_workflow(graph: "nx.DiGraph[str]", stem: Path) -> None:
    """Draw a graph of rules from left to right, as SVG and PDF; in grey, so that print loses nothing.

    Parameters
    ----------
    graph
        Rules, and which needs what another makes.
    stem
        Path of the files without their suffix.
    """
    # Counted from the end, so that a rule stands just before the one that needs it.
    generations = {-layer: rules for layer, rules in enumerate(nx.topological_generations(graph.reverse()))}
    layers = {rule: layer for layer, rules in generations.items() for rule in rules}
    places = nx.multipartite_layout(graph, subset_key=generations)
    with style():
        figure, axes = plt.subplots(figsize=(TEXT_WIDTH, 1.9))
        axes.set_axis_off()
        boxes = nx.draw_networkx_labels(
            graph,
            places,
            labels={rule: rule.replace("_", " ") for rule in graph},
            ax=axes,
            font_size=9,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "0.25", "linewidth": 1.0},
            clip_on=False,
        )
        for first, second in graph.edges:
            # An arrow that passes other rules goes around them.
            bend = 0.0 if layers[second] - layers[first] == 1 else -0.35
            axes.annotate(
                "",
                places[second],
                places[first],
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": "0.45",
                    "connectionstyle": f"arc3,rad={bend}",
                    "patchA": boxes[first].get_bbox_patch(),
                    "patchB": boxes[second].get_bbox_patch(),
                    "shrinkA": 0,
                    "shrinkB": 2,
                },
            )
        axes.update_datalim(list(places.values()))
        axes.margins(0.12, 0.25)
        save_figure(figure, stem.with_suffix(".svg"))
        plt.close(figure)
