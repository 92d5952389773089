"""The end of a bundle's graph, cut off behind its feature map, so that it can be asked about changed maps.

The end of a network is small: a pooling and a dense layer or two. What one place of the map contributes to an answer
can be measured there by asking again without it, as often as the map has places, in less time than the whole network
takes for one picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tellapart import graphfile
from tellapart.graphfile import Graph, Node


@dataclass(frozen=True, slots=True)
class Tail:
    """The graph from a feature map to the logits."""

    graph: bytes  # one input, the map, float32; one output, the logits
    order: tuple[int, ...]  # axes of (B, H, W, K) in the order in which the input has them


def cut(graph: Graph, feature_map: str, logits: str, shape: Sequence[int]) -> Tail | None:
    """The end of a graph from `feature_map` to `logits`; None where the logits hang on more than that map.

    Args:
        graph: not trusted.
        feature_map: the name of the map, float32 (B, H, W, K), among the graph's values.
        logits: the name of an output, float32 (B, C).
        shape: H, W, K.
    """
    makers = graph.makers()
    for name, order in _same(makers, feature_map):
        needed = _needed(makers, logits, name)
        values = {value for node in needed for value in node.inputs} | {logits}
        if name in values and not values & set(graph.inputs):
            ending = [node for node in graph.nodes if node in needed]
            given = graphfile.value(name, [(None, *shape)[axis] for axis in order])
            return Tail(graphfile.written(graph, ending, [given], [graph.outputs[logits]]), order)
    return None


def _same(makers: dict[str, Node], name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names under which the map stands in the graph, and the order of its axes there."""
    order = (0, 1, 2, 3)
    seen = set()
    while name not in seen and order[0] == 0:
        seen.add(name)
        yield name, order
        node = makers.get(name)
        if node is None or len(node.inputs) != 1 or node.operator not in ("Identity", "Transpose"):
            return
        if node.operator == "Transpose":
            moved = node.attributes().get("perm", [])
            if sorted(moved) != [0, 1, 2, 3]:
                return
            # Axis i of what comes out is axis moved[i] of what goes in.
            order = tuple(order[moved.index(axis)] for axis in range(4))
        name = node.inputs[0]


def _needed(makers: dict[str, Node], logits: str, stop: str) -> set[Node]:
    """The nodes that lead to the logits, back to `stop`."""
    needed: set[Node] = set()
    waiting = [logits]
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if name != stop and node is not None and node not in needed:
            needed.add(node)
            waiting.extend(node.inputs)
    return needed
