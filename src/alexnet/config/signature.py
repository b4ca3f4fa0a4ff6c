"""Read the arguments of a class or function from its source, without importing or running it.

So a mistyped key is refused at once, without waiting for torch to be imported, and a configuration
from somebody else cannot make this program import what it names.
"""

import ast
import importlib.util
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from operator import or_
from pathlib import Path
from typing import Any

from alexnet import vocabulary
from alexnet.config.suggest import did_you_mean

UNKNOWN: Any = object()
"""Stands for a default that is not a literal."""

REQUIRED: Any = object()
"""Stands for the default of a required parameter."""

_MOST_STEPS = 20  # imports to follow from module to module until a name's definition is found

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class NoSuchTarget(ValueError):
    """There is no class or function of this name."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """An argument: its type, if it is annotated with plain types (else Any), and its default."""

    type: Any = Any
    default: Any = REQUIRED


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The arguments of a target; `module` is where it is defined.

    `takes_any`: it accepts keyword arguments that are not declared anywhere.
    """

    module: str
    is_class: bool
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    takes_any: bool = False


@lru_cache(maxsize=256)
def signature_of(target: str) -> Signature:
    """Return the signature of a dotted name such as alexnet.model.AlexNet, which may be an alias.

    Raises NoSuchTarget if there is none.
    """
    module, _, name = target.rpartition(".")
    if not module:
        raise NoSuchTarget(f"{target} is not a dotted name: give one, such as my_lab.nets.SmallNet")
    source = _Module.find(module)
    if source is None:
        package = module.partition(".")[0]
        has_package = _spec(package) is not None
        where = f"{package} has no module {module}" if has_package else f"no module {module}"
        raise NoSuchTarget(f"{where}: put its folder on PYTHONPATH, or install it")
    found = source.resolve(name)
    if found is None:
        near = did_you_mean(name, source.names())
        raise NoSuchTarget(f"{module} defines no class or function {name}: {near}")
    origin, node = found
    if isinstance(node, ast.ClassDef):
        parameters, takes_any = _of_class(origin, node)
    else:
        parameters, takes_any = _of_function(origin, node)
    return Signature(
        module=origin.name,
        is_class=isinstance(node, ast.ClassDef),
        parameters=parameters,
        takes_any=takes_any,
    )


def constant_of(target: str, name: str) -> Any:
    """Return the literal value of a class attribute, which may be inherited; None if unset."""
    module, _, class_name = target.rpartition(".")
    source = _Module.find(module)
    found = source.resolve(class_name) if source else None
    while found:
        where, node = found
        if not isinstance(node, ast.ClassDef):
            return None
        for each in node.body:
            assigned = each.targets[0] if isinstance(each, ast.Assign) else None
            assigned = each.target if isinstance(each, ast.AnnAssign) else assigned
            value = getattr(each, "value", None)
            if isinstance(assigned, ast.Name) and assigned.id == name and value:
                return ast.literal_eval(value)
        found = where.resolve(ast.unparse(node.bases[0])) if node.bases else None
    return None


@dataclass(frozen=True, eq=False)
class _Module:
    """The source of a module."""

    name: str
    file: Path
    body: Sequence[ast.stmt]

    @staticmethod
    @lru_cache(maxsize=512)
    def find(name: str) -> "_Module | None":
        """Find a module; None if there is none, or it has no Python source."""
        top, *rest = name.split(".")
        spec = _spec(top)
        if spec is None:
            return None
        folders = [Path(each) for each in spec.submodule_search_locations or ()]
        file = Path(spec.origin) if spec.origin else None
        for part in rest:
            candidates = [
                each
                for folder in folders
                for each in (folder / part / "__init__.py", folder / f"{part}.py")
            ]
            file = next((each for each in candidates if each.is_file()), None)
            folders = [folder / part for folder in folders if (folder / part).is_dir()]
            if file is None and not folders:
                return None
        if file is None or file.suffix != ".py":
            return None
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            raise NoSuchTarget(f"{file} cannot be read: {error}") from error
        return _Module(name, file, tuple(_statements(tree.body)))

    def resolve(self, name: str, steps: int = 0) -> "tuple[_Module, _Definition] | None":
        """Find the definition of a name in this module, following imports and aliases."""
        if steps > _MOST_STEPS:
            return None
        for node in reversed(self.body):
            if isinstance(node, _Definition) and node.name == name:
                return self, node
            if isinstance(node, ast.ImportFrom):
                found = self._resolve_import(node, name, steps)
                if found:
                    return found
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Name)
                and node.value.id != name
                and any(isinstance(each, ast.Name) and each.id == name for each in node.targets)
            ):
                return self.resolve(node.value.id, steps + 1)
        return None

    def names(self) -> set[str]:
        """Return the public names that are defined or imported here, for a suggestion."""
        defined = {node.name for node in self.body if isinstance(node, _Definition)}
        imports = (node for node in self.body if isinstance(node, ast.ImportFrom))
        imported = {each.asname or each.name for node in imports for each in node.names}
        return {name for name in defined | imported if not name.startswith("_")}

    def _resolve_import(
        self, node: ast.ImportFrom, name: str, steps: int
    ) -> "tuple[_Module, _Definition] | None":
        for alias in node.names:
            if alias.name == "*" or (alias.asname or alias.name) == name:
                module = _Module.find(self.absolute(node))
                wanted = name if alias.name == "*" else alias.name
                if module and (found := module.resolve(wanted, steps + 1)):
                    return found
        return None

    def absolute(self, node: ast.ImportFrom) -> str:
        """Return the absolute name of the module that a statement imports from."""
        if not node.level:
            return node.module or ""
        package = self.name.split(".")
        up = node.level - (self.file.name == "__init__.py")
        package = package[: len(package) - up]
        return ".".join([*package, *filter(None, [node.module])])

    def alias(self, name: str) -> "tuple[_Module, ast.expr] | None":
        """Return the expression assigned to a name, here or where it is imported from."""
        for node in reversed(self.body):
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            if isinstance(node, ast.AnnAssign) and node.value:
                target = node.target
            if isinstance(target, ast.Name) and target.id == name:
                value = getattr(node, "value", None)
                return (self, value) if isinstance(value, ast.expr) else None
            if isinstance(node, ast.ImportFrom):
                for each in node.names:
                    if (each.asname or each.name) == name:
                        module = _Module.find(self.absolute(node))
                        return module.alias(each.name) if module else None
        return None


def _spec(top: str) -> Any:
    """Find a top-level module, which runs no code."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, including those inside if and try."""
    for node in body:
        yield node
        for inner in ("body", "orelse", "handlers", "finalbody"):
            if isinstance(node, ast.If | ast.Try):
                for each in getattr(node, inner, []):
                    parts = each.body if isinstance(each, ast.ExceptHandler) else [each]
                    yield from _statements(parts)


def _of_class(module: _Module, node: ast.ClassDef) -> tuple[dict[str, Parameter], bool]:
    """Return the arguments of a class's constructor, which may be inherited."""
    constructor = next(
        (
            each
            for each in reversed(node.body)
            if isinstance(each, ast.FunctionDef) and each.name == "__init__"
        ),
        None,
    )
    is_dataclass = any("dataclass" in ast.unparse(each) for each in node.decorator_list)
    if constructor is None and is_dataclass:
        return _of_fields(module, node), False
    if constructor is None:
        return _of_bases(module, node)
    parameters, takes_any = _of_function(module, constructor, skip_first=True)
    if constructor.args.kwarg is not None and _hands_on(constructor):
        inherited, inherits_any = _of_bases(module, node)
        if takes_any:
            # The constructor may pass arguments that the base requires by itself.
            inherited = {
                name: replace(each, default=UNKNOWN) if each.default is REQUIRED else each
                for name, each in inherited.items()
            }
            return {**inherited, **parameters}, inherits_any
        # Unpack[Settings] names the arguments passed on; the base has their defaults.
        parameters = {
            name: replace(each, default=inherited[name].default)
            if each.default is UNKNOWN and name in inherited
            else each
            for name, each in parameters.items()
        }
    return parameters, takes_any


def _hands_on(constructor: ast.FunctionDef) -> bool:
    """Whether a constructor passes its ** arguments on to super().__init__."""
    assert constructor.args.kwarg is not None
    name = constructor.args.kwarg.arg
    return any(
        isinstance(call, ast.Call)
        and ast.unparse(call.func).endswith(".__init__")
        and any(each.arg is None and ast.unparse(each.value) == name for each in call.keywords)
        for call in ast.walk(constructor)
    )


def _of_bases(module: _Module, node: ast.ClassDef) -> tuple[dict[str, Parameter], bool]:
    for base in node.bases:
        name = ast.unparse(base)
        found = None
        if isinstance(base, ast.Name):
            found = module.resolve(name)
        elif isinstance(base, ast.Attribute):
            found = _by_attribute(module, name)
        if found and isinstance(found[1], ast.ClassDef):
            parameters, takes_any = _of_class(found[0], found[1])
            if parameters or takes_any:
                return parameters, takes_any
    return {}, False


def _by_attribute(module: _Module, dotted: str) -> "tuple[_Module, _Definition] | None":
    """Find the definition of a name such as nn.Module, where nn is an imported module."""
    head, _, rest = dotted.partition(".")
    for node in module.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            if (alias.asname or alias.name.partition(".")[0]) != head:
                continue
            origin = alias.name if alias.asname else head
            if isinstance(node, ast.ImportFrom):
                origin = f"{module.absolute(node)}.{alias.name}"
            path, _, name = f"{origin}.{rest}".rpartition(".")
            found = _Module.find(path)
            return found.resolve(name) if found else None
    return None


def _of_fields(module: _Module, node: ast.ClassDef) -> dict[str, Parameter]:
    """Return the fields of a dataclass or a TypedDict as parameters."""
    is_dict = any(ast.unparse(base) == "TypedDict" for base in node.bases)
    return {
        each.target.id: Parameter(
            type=_type(module, each.annotation),
            default=_default(each.value) if each.value else UNKNOWN if is_dict else REQUIRED,
        )
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }


def _of_function(
    module: _Module, node: ast.FunctionDef | ast.AsyncFunctionDef, *, skip_first: bool = False
) -> tuple[dict[str, Parameter], bool]:
    given = node.args
    ordered = [*given.posonlyargs, *given.args][skip_first:]
    missing = len(ordered) - len(given.defaults)
    defaults: list[ast.expr | None] = [*[None] * max(0, missing), *given.defaults]
    defaults = defaults[len(defaults) - len(ordered) :]
    pairs = [
        *zip(ordered, defaults, strict=True),
        *zip(given.kwonlyargs, given.kw_defaults, strict=True),
    ]
    parameters = {
        argument.arg: Parameter(type=_type(module, argument.annotation), default=_default(default))
        for argument, default in pairs
    }
    if given.kwarg is None:
        return parameters, False
    annotation = given.kwarg.annotation
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Unpack":
        found = module.resolve(ast.unparse(annotation.slice))
        if found and isinstance(found[1], ast.ClassDef):
            return {**parameters, **_of_fields(*found)}, False  # type: ignore[arg-type]
    return parameters, True


def _default(node: ast.expr | None) -> Any:
    if node is None:
        return REQUIRED
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN


class _NotPlain(Exception):
    """The annotation is not a type that a configuration can contain."""


_PLAIN: dict[str, Any] = {
    **{each.__name__: each for each in (int, float, str, bool, list, dict, tuple, set)},
    "Path": Path,
    "Sequence": Sequence,
    "Iterable": Sequence,
    "Collection": Sequence,
    "Mapping": Mapping,
    "List": list,
    "Dict": dict,
    "Tuple": tuple,
    "Any": Any,
}


def _type(module: _Module, annotation: ast.expr | None) -> Any:
    """Return the type for pydantic; Any for no annotation, or one that a file cannot contain."""
    if annotation is None:
        return Any
    try:
        return _evaluate(module, annotation, 0)
    except (_NotPlain, TypeError, ValueError):
        return Any


def _evaluate(module: _Module, node: ast.expr, steps: int) -> Any:
    if steps > _MOST_STEPS:
        raise _NotPlain
    if isinstance(node, ast.Constant):
        if node.value is None or node.value is ...:
            return node.value
        if isinstance(node.value, str):
            return _evaluate(module, ast.parse(node.value, mode="eval").body, steps + 1)
        raise _NotPlain
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = (_evaluate(module, each, steps + 1) for each in (node.left, node.right))
        return left | right if left is not None else right | left
    if isinstance(node, ast.Name | ast.Attribute):
        return _named(module, node, steps)
    if isinstance(node, ast.Subscript):
        return _subscript(module, node, steps)
    raise _NotPlain


def _named(module: _Module, node: ast.Name | ast.Attribute, steps: int) -> Any:
    name = node.id if isinstance(node, ast.Name) else node.attr
    if name in _PLAIN:
        return _PLAIN[name]
    if isinstance(node, ast.Attribute):
        raise _NotPlain
    if name in _PLAIN_OF_VOCABULARY:
        return _PLAIN_OF_VOCABULARY[name]
    if found := module.alias(name):
        return _evaluate(*found, steps + 1)
    raise _NotPlain


def _subscript(module: _Module, node: ast.Subscript, steps: int) -> Any:
    name = ast.unparse(node.value).rpartition(".")[2]
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return typing.Literal[tuple(ast.literal_eval(each) for each in parts)]
    if name == "Callable":
        raise _NotPlain
    inner = tuple(
        _evaluate(module, each, steps + 1) for each in parts[: 1 if name == "Annotated" else None]
    )
    if name in ("Optional", "Union"):
        return reduce(or_, [*inner, None] if name == "Optional" else inner)
    if name in ("Annotated", "Final"):
        return inner[0]
    base = _PLAIN.get(name)
    if base is None:
        raise _NotPlain
    return base[inner if len(inner) > 1 else inner[0]]


_PLAIN_OF_VOCABULARY = {
    name: value
    for name, value in vars(vocabulary).items()
    if typing.get_origin(value) in (typing.Annotated, typing.Literal)
}
