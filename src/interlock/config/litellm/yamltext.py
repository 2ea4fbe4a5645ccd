"""YAML from outside, bounded: size, depth, and what aliases may expand to. Plain values only, floats exact as Decimal.

A few hundred bytes of YAML can stand for billions of nodes (each alias counts as all that it names), so the graph is
measured before anything is built from it.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import yaml

from interlock.errors import ConfigError

TEXT_BYTES_MAX = 1 << 20
NODES_MAX = 100_000
DEPTH_MAX = 64


class _Loader(yaml.SafeLoader):
    """SafeLoader with exact numbers."""


def _exact(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> object:
    text = str(loader.construct_scalar(node))
    try:
        return Decimal(text.replace("_", ""))
    except InvalidOperation:  # .inf, .nan, 1:30.5: never a number that is meant here
        return text


_Loader.add_constructor("tag:yaml.org,2002:float", _exact)


def load(text: str) -> Any:
    """The document's plain value.

    Raises: ConfigError: too large, too deep, not YAML, or with tags other than YAML's own; no value is repeated.
    """
    if len(text.encode("utf-8", "replace")) > TEXT_BYTES_MAX:
        raise ConfigError([f"more than {TEXT_BYTES_MAX} bytes"])
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {}, 0)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigError([f"not YAML that is understood here{where}"]) from error
    except RecursionError as error:
        raise ConfigError([f"nested deeper than {DEPTH_MAX}"]) from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # a character YAML forbids, a day that does not exist
        raise ConfigError(["not YAML that is understood here"]) from error


def _measure(node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
    """How many nodes `node` stands for with every alias written out."""
    if depth > DEPTH_MAX:  # an alias to what surrounds it ends here, too
        raise ConfigError([f"nested deeper than {DEPTH_MAX}"])
    if id(node) in sizes:
        return sizes[id(node)]
    size = 1
    for child in _children(node):
        size += _measure(child, sizes, depth + 1)
        if size > NODES_MAX:
            raise ConfigError([f"stands for more than {NODES_MAX} values (aliases written out)"])
    sizes[id(node)] = size
    return size


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
