"""The changes that are made to a module, one at a time, each a small fault that somebody might make.

    <, <=, >, >=             the bound moves by one; == and !=, is, in: the opposite
    conditions               always true, always false; one operand of `and` and `or` missing; `not` missing
    + - * / // % << >> & |   the opposite, also in `+=`
    numbers                  one more, one less; True and False; a text that is no sentence: another one
    min, max, any, all       the opposite; a bound of a slice missing; a named argument missing; `suppress` of less
    statements               a call, an assignment to an attribute or item, raise, return, break, continue missing
    return                   None instead of a value

Left out by rule, because nothing that is promised depends on it: docstrings, annotations and aliases of types; what is
said to the log; the arguments of exceptions; texts with a blank in them and f-strings, which are for people;
`__repr__`; sizes of caches, and names given to loggers and type variables; `raise AssertionError`, which is where
nobody can come.
"""

import ast
from collections.abc import Iterator
from itertools import pairwise

import attrs

_COMPARED = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_COMPUTED = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
_UNSAID = {"log"}  # what is called on it is for people
_UNCHANGED = {"TypeVar", "get_logger", "lru_cache", "cache"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_TIGHT = (ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.IfExp, ast.Await, ast.Attribute, ast.Starred)


@attrs.frozen
class Mutant:
    """Bytes of a source, from `start` up to `end`, that give way to others."""

    start: int
    end: int
    text: str
    function: str | None  # the outermost function around it, by its qualified name; None where importing runs it
    around: range  # the numbers of its lines, or those of the module

    def applied_to(self, source: str) -> str:
        data = source.encode()
        return (data[: self.start] + self.text.encode() + data[self.end :]).decode()

    def line_number(self, source: str) -> int:
        return source.encode()[: self.start].count(b"\n") + 1

    def lines(self, source: str) -> set[int]:
        """The numbers of all lines that it changes."""
        first = self.line_number(source)
        return set(range(first, first + source.encode()[self.start : self.end].count(b"\n") + 1))

    def line(self, source: str) -> str:
        """The line on which the change begins, without what stands around it."""
        return source.splitlines()[self.line_number(source) - 1].strip()

    def change(self, source: str) -> str:
        """What becomes of what, as one line."""
        before = source.encode()[self.start : self.end].decode()
        return f"{' '.join(before.split())} -> {self.text or 'nothing'}"


def mutants_of(source: str) -> list[Mutant]:
    """All of a module's, in order of place."""
    found = _Finder(source)
    found.visit(ast.parse(source))
    return sorted(set(found.mutants), key=lambda each: (each.start, each.end, each.text))


class _Finder(ast.NodeVisitor):
    def __init__(self, source: str) -> None:
        self.data = source.encode()
        self.starts = [0]
        for line in self.data.split(b"\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.mutants: list[Mutant] = []
        self.above: list[ast.AST] = []

    def visit(self, node: ast.AST) -> None:
        if self._is_left_out(node):
            return
        for name in (type(node).__name__, *(["Condition"] if self._is_condition(node) else [])):
            for start, end, text in getattr(self, f"of_{name.lower()}", lambda _: ())(node):
                self.mutants.append(Mutant(start, end, text, *self._function()))
        self.above.append(node)
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child)
        self.above.pop()

    def _is_left_out(self, node: ast.AST) -> bool:
        if self.above and isinstance(self.above[-1], ast.Raise):
            return True
        match node:
            case ast.Expr(value=ast.Constant(value=str())):  # a docstring
                return True
            case ast.JoinedStr() | ast.Import() | ast.ImportFrom():
                return True
            case ast.FunctionDef(name="__repr__"):
                return True
            case ast.Assign(value=ast.BinOp(op=ast.BitOr()) as union) if not self.above[1:]:  # an alias of types
                return not any(isinstance(each, ast.Constant | ast.Call) for each in ast.walk(union))
            case ast.Call(func=ast.Name(id=name)):
                return name in _UNCHANGED
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
                return name in _UNSAID
            case ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError"))):
                return True
            case ast.keyword(arg="cache_hash" | "maxsize"):
                return True
        return False

    def _is_condition(self, node: ast.AST) -> bool:
        match self.above[-1] if self.above else None:
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                return test is node
            case ast.comprehension(ifs=ifs):
                return node in ifs
            case ast.match_case(guard=guard):
                return guard is node
        return False

    def _function(self) -> tuple[str | None, range]:
        """The outermost function around the node that is visited now, and its lines. Where importing itself runs the
        node, there is none."""
        module = None, range(1, len(self.starts))
        names: list[str] = []
        for place, node in enumerate(self.above):
            if isinstance(node, _FUNCTIONS):
                inside = self.above[place + 1] if place + 1 < len(self.above) else None
                in_signature = isinstance(inside, ast.arguments) or inside in node.decorator_list
                if in_signature:
                    return module
                return ".".join([*names, node.name]), range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if isinstance(node, ast.ClassDef):
                names.append(node.name)
        return module

    def _place(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def _between(self, before: ast.AST, after: ast.AST, old: str, new: str) -> Iterator[tuple[int, int, str]]:
        """An operator between two operands becomes another one."""
        start, end = self._place(before)[1], self._place(after)[0]
        at = self.data[start:end].decode().find(old)
        if at >= 0:
            yield start + at, start + at + len(old), new

    def _instead(self, node: ast.expr, other: ast.expr | str) -> tuple[int, int, str]:
        text = other if isinstance(other, str) else ast.unparse(other)
        tight = isinstance(self.above[-1], _TIGHT) and isinstance(other, _TIGHT[:5])
        return *self._place(node), f"({text})" if tight else text

    # Expressions

    def of_compare(self, node: ast.Compare) -> Iterator[tuple[int, int, str]]:
        for operator, (before, after) in zip(node.ops, pairwise([node.left, *node.comparators]), strict=True):
            yield from self._between(before, after, *_COMPARED[type(operator)])

    def of_binop(self, node: ast.BinOp) -> Iterator[tuple[int, int, str]]:
        if type(node.op) in _COMPUTED:
            yield from self._between(node.left, node.right, *_COMPUTED[type(node.op)])

    def of_boolop(self, node: ast.BoolOp) -> Iterator[tuple[int, int, str]]:
        for gone in range(len(node.values)):
            rest = [value for place, value in enumerate(node.values) if place != gone]
            yield self._instead(node, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))

    def of_unaryop(self, node: ast.UnaryOp) -> Iterator[tuple[int, int, str]]:
        if isinstance(node.op, ast.Not | ast.USub):
            yield self._instead(node, node.operand)

    def of_condition(self, node: ast.expr) -> Iterator[tuple[int, int, str]]:
        always = isinstance(node, ast.Constant)
        for value in () if always else ("False",) if isinstance(self.above[-1], ast.While) else ("True", "False"):
            yield self._instead(node, value)

    def of_constant(self, node: ast.Constant) -> Iterator[tuple[int, int, str]]:
        match node.value:
            case bool():
                yield self._instead(node, str(not node.value))
            case int() | float():
                for value in (node.value + 1, node.value - 1):
                    yield self._instead(node, f"{value:_}" if isinstance(value, int) else repr(value))
            case str() | bytes():
                if not (set(node.value) & set(" " if isinstance(node.value, str) else b" ")) or len(node.value) == 1:
                    yield self._instead(node, repr("XX" if isinstance(node.value, str) else b"XX"))

    def of_name(self, node: ast.Name) -> Iterator[tuple[int, int, str]]:
        if node.id in _SWAPPED:
            yield self._instead(node, _SWAPPED[node.id])

    def of_slice(self, node: ast.Slice) -> Iterator[tuple[int, int, str]]:
        for bound in (node.lower, node.upper):
            if bound is not None:
                yield self._instead(bound, "")

    def of_call(self, node: ast.Call) -> Iterator[tuple[int, int, str]]:
        for gone in node.keywords:
            if gone.arg not in (None, "cache_hash", "maxsize", "key"):
                kept = [each for each in node.keywords if each is not gone]
                yield self._instead(node, ast.Call(node.func, node.args, kept))
        if isinstance(node.func, ast.Name) and node.func.id == "suppress":
            for each in node.args:
                yield self._instead(node, ast.Call(node.func, [other for other in node.args if other is not each], []))

    # Statements

    def of_expr(self, node: ast.Expr) -> Iterator[tuple[int, int, str]]:
        if not self._is_left_out(node.value):
            yield *self._place(node), "pass"

    def of_assign(self, node: ast.Assign) -> Iterator[tuple[int, int, str]]:
        if all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            yield *self._place(node), "pass"

    def of_augassign(self, node: ast.AugAssign) -> Iterator[tuple[int, int, str]]:
        yield *self._place(node), "pass"
        if type(node.op) in _COMPUTED:
            yield from self._between(node.target, node.value, *_COMPUTED[type(node.op)])

    def of_delete(self, node: ast.Delete) -> Iterator[tuple[int, int, str]]:
        yield *self._place(node), "pass"

    def of_raise(self, node: ast.Raise) -> Iterator[tuple[int, int, str]]:
        yield *self._place(node), "pass"

    def of_break(self, node: ast.Break) -> Iterator[tuple[int, int, str]]:
        yield *self._place(node), "continue"

    def of_continue(self, node: ast.Continue) -> Iterator[tuple[int, int, str]]:
        yield *self._place(node), "break"
        yield *self._place(node), "pass"

    def of_return(self, node: ast.Return) -> Iterator[tuple[int, int, str]]:
        if node.value is None:
            yield *self._place(node), "pass"
        elif not isinstance(node.value, ast.Constant | ast.Compare | ast.BoolOp):
            yield *self._place(node.value), "None"
