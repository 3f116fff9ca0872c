"""Check that chat templates always end: a Jinja template is a program, and is checked before it is run.

Templates may use what conversations need: text, conditions, macros that call no other macro, and loops over parts of
a conversation. Then the number of steps and the length of the text depend only on the conversation.
"""

import re
from collections.abc import Iterator
from typing import Any, TypeGuard

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..storage.foreign_files import ForeignFileError

MAX_LETTERS = 32 << 10
MAX_NODES = 5000  # each call of a macro counts with the macro's content; our template has under 150
_CONVERSATION = ("messages", "tools", "documents")
_NODES = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Scope, nodes.If, nodes.For, nodes.Macro, nodes.Assign),
    *(nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Neg, nodes.Not, nodes.And, nodes.Or),
    *(nodes.Compare, nodes.Operand, nodes.Add, nodes.Sub, nodes.Mod, nodes.Concat, nodes.CondExpr, nodes.Test),
    *(nodes.Filter, nodes.Call, nodes.Keyword, nodes.Break, nodes.Continue, nodes.NSRef),
)
_FILTERS = ("trim", "length", "count", "string", "tojson", "default", "d", "first", "last", "upper", "lower", "title",
            "capitalize", "safe", "int")  # fmt: skip
_PART_FILTERS = ("first", "last", "length", "count")
_METHODS = ("strip", "lstrip", "rstrip", "startswith", "endswith", "split", "upper", "lower", "title", "capitalize",
            "items", "get", "keys", "values")  # fmt: skip
_DATE = re.compile(r"[%A-Za-z ,.:/-]*")  # no digits: they would be widths


class _Generation(Extension):
    """Jinja extension that reads `{% generation %}`, transformers' mark of the assistant's text."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _Refused(Exception):  # noqa: N818 - says why, and goes no further than this file
    """Error of a template that does something forbidden."""


def check_template(template: Any, source: Any) -> None:
    """Refuse chat templates that could run without end, or make texts of any length.

    Args:
        template: Jinja text, or several by name; None is allowed.
        source: folder or file, for the message.

    Raises:
        ForeignFileError: naming the forbidden part of the template.
    """
    texts = template.values() if isinstance(template, dict) else [] if template is None else [template]
    for text in texts:
        try:
            _check_text(text)
        except (TemplateError, RecursionError) as error:
            reason = " ".join(str(error).split())[:120] if isinstance(error, TemplateError) else "nested too deep"
            raise ForeignFileError(f"{source}: its chat template is damaged ({reason}); copy it again") from None
        except _Refused as error:
            raise ForeignFileError(
                f"{source}: its chat template is not used, because it {error}; argus create writes one that is"
            ) from None


def _check_text(text: Any) -> None:
    if not isinstance(text, str) or len(text) > MAX_LETTERS:
        raise _Refused(f"is not a text of at most {MAX_LETTERS:,} letters")
    environment = ImmutableSandboxedEnvironment(extensions=[_Generation, loopcontrols])
    # Parsed, not compiled: compiling already computes constants, such as 9 ** 9 ** 9.
    tree = environment.parse(text)
    macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
    for node in _inside(tree):
        _check_node(node, macros)
    for macro in macros.values():
        if any(call for call in macro.find_all(nodes.Call) if _called(call) in macros):
            raise _Refused("has a macro that calls a macro")
    if (count := _count(tree, macros)) > MAX_NODES:
        raise _Refused(f"has {count:,} steps, more than {MAX_NODES:,}")
    _check_values(tree, macros)
    _check_escapes(tree)
    _check_loops(tree, macros)


def _inside(tree: nodes.Node) -> Iterator[nodes.Node]:
    for node in tree.iter_child_nodes():
        yield node
        yield from _inside(node)


def _called(call: nodes.Call) -> str | None:
    return call.node.name if isinstance(call.node, nodes.Name) else None


def _check_node(node: nodes.Node, macros: dict[str, nodes.Macro]) -> None:
    if not isinstance(node, _NODES):
        raise _Refused(f"uses {type(node).__name__}")
    if isinstance(node, nodes.Filter) and (node.name not in _FILTERS or node.name == "tojson" and node.kwargs):
        raise _Refused(f"uses the filter {node.name}")
    if isinstance(node, nodes.Call):
        _check_call(node, macros)
    if isinstance(node, nodes.Mod) and not _chain(node.left).startswith("loop."):
        raise _Refused("uses % on something else than a loop's index")
    if isinstance(node, nodes.Assign) and not isinstance(node.target, nodes.Name):
        # In a namespace only constants, which do not grow from one round of a loop to the next.
        if not (isinstance(node.target, nodes.NSRef) and isinstance(node.node, nodes.Const)):
            raise _Refused("sets more than a name")
    if isinstance(node, nodes.For) and node.recursive:
        raise _Refused("has a recursive loop")


def _check_call(call: nodes.Call, macros: dict[str, nodes.Macro]) -> None:
    name = _called(call)
    if name == "strftime_now":
        if len(call.args) == 1 and isinstance(call.args[0], nodes.Const) and _DATE.fullmatch(str(call.args[0].value)):
            return
        raise _Refused("calls strftime_now with a width")
    if name in macros or name == "raise_exception":
        return
    if name == "namespace":
        if call.args or call.dyn_args or call.dyn_kwargs or not all(_is_constant(given) for given in call.kwargs):
            raise _Refused("calls namespace with more than constants")
        return
    if isinstance(call.node, nodes.Getattr) and call.node.attr in _METHODS:
        return
    raise _Refused(f"calls {name or getattr(call.node, 'attr', 'a value')}")


def _is_constant(given: nodes.Keyword) -> bool:
    return isinstance(given.value, nodes.Const)


def _chain(node: nodes.Node | None) -> str:
    """Return `a.b.c` for a name with attributes, "" for any other expression."""
    if isinstance(node, nodes.Name):
        return f"{node.name}."
    if isinstance(node, nodes.Getattr | nodes.Getitem):
        return _chain(node.node)
    return ""


def _count(tree: nodes.Node, macros: dict[str, nodes.Macro]) -> int:
    """Count nodes; those of a macro count once for every call."""
    sizes = {name: sum(1 for _ in _inside(macro)) for name, macro in macros.items()}
    called = (_called(node) for node in _inside(tree) if isinstance(node, nodes.Call))
    return sum(1 for _ in _inside(tree)) + sum(sizes.get(name, 0) for name in called if name is not None)


def _assigned(tree: nodes.Node) -> dict[str, list[nodes.Node]]:
    found: dict[str, list[nodes.Node]] = {}
    for assign in tree.find_all(nodes.Assign):
        if isinstance(assign.target, nodes.Name | nodes.NSRef):  # others were refused
            found.setdefault(assign.target.name, []).append(assign.node)
    return found


def _check_values(tree: nodes.Node, macros: dict[str, nodes.Macro]) -> None:
    """Refuse values that could double: those made from two values of the template, or by a macro."""
    made = set(_assigned(tree))
    for call in tree.find_all(nodes.Call):
        if _called(call) in macros and any(_called(inner) in macros for inner in _calls_in_arguments(call)):
            raise _Refused("hands a macro's text to a macro")
    for assign in tree.find_all(nodes.Assign):
        used = sum(name.name in made for name in _names(assign.node))
        through = any(_called(call) in macros for call in _expression_calls(assign.node))
        if used > 1 or used and through:
            raise _Refused("makes a value of several that it made")


def _check_escapes(tree: nodes.Node) -> None:
    """Refuse texts that are escaped repeatedly, each time up to twice as long: as JSON, or as a list in a text.

    JSON may be made only from parts of the conversation; of the result of `split` only one part may be used.
    """
    made = set(_assigned(tree))
    for json in tree.find_all(nodes.Filter):
        root = _chain(json.node).split(".")[0] if json.name == "tojson" else None
        if root == "" or root in made:
            raise _Refused("makes JSON of a text that it made")
    taken: list[nodes.Node | None] = [
        node.node for node in tree.find_all(nodes.Getitem) if not isinstance(node.arg, nodes.Slice)
    ]
    taken += [node.node for node in tree.find_all(nodes.Filter) if node.name in _PART_FILTERS]
    whole = [call for call in tree.find_all(nodes.Call) if getattr(call.node, "attr", "") == "split"]
    if any(all(call is not node for node in taken) for call in whole):
        raise _Refused("writes a text's parts as a list")


def _names(node: nodes.Node) -> list[nodes.Name]:
    return [node] if isinstance(node, nodes.Name) else list(node.find_all(nodes.Name))


def _expression_calls(node: nodes.Node) -> list[nodes.Call]:
    return ([node] if isinstance(node, nodes.Call) else []) + list(node.find_all(nodes.Call))


def _calls_in_arguments(call: nodes.Call) -> Iterator[nodes.Call]:
    for argument in [*call.args, *(keyword.value for keyword in call.kwargs)]:
        yield from _expression_calls(argument)


def _check_loops(tree: nodes.Template, macros: dict[str, nodes.Macro]) -> None:
    """Refuse loops over anything but the conversation, and nested loops except over a message's parts."""
    assigned = _assigned(tree)
    whole = set(_CONVERSATION)
    for name, values in assigned.items():
        if all(_is_whole(value, whole) for value in values):
            whole.add(name)
        elif name in whole:
            raise _Refused("changes the conversation")
    looping = {name for name, macro in macros.items() if macro.find(nodes.For)}
    made = assigned.keys() - whole
    for loop in tree.find_all(nodes.For):
        root = _chain(loop.iter).rstrip(".") or (_chain(loop.iter.node).rstrip(".") if _sliced(loop.iter) else "")
        if not root or root in made:
            raise _Refused("loops over something else than the conversation")
        inner = [node for part in loop.body for node in [part, *_inside(part)]]
        calls = any(isinstance(node, nodes.Call) and _called(node) in looping for node in inner)
        loops = [node for node in inner if isinstance(node, nodes.For)]
        if (calls or loops) and not _is_whole(loop.iter, whole):
            raise _Refused("has loops in loops over the same text")
        targets = {name.name for name in _names(loop.target)}
        if any(_chain(node.iter).split(".")[0] not in targets or node.find(nodes.For) for node in loops):
            raise _Refused("has loops in loops over the same text")
        if loops and any(isinstance(n, nodes.Call) and _called(n) in looping for node in loops for n in _inside(node)):
            raise _Refused("has three loops in one another")


def _sliced(node: nodes.Node) -> TypeGuard[nodes.Getitem]:
    return isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)


def _is_whole(node: nodes.Node, whole: set[str]) -> bool:
    """Return whether an expression is a whole conversation, or a slice of one."""
    inner = node.node if _sliced(node) else node
    return isinstance(inner, nodes.Name) and inner.name in whole
