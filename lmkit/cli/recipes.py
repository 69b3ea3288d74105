"""What must be known of a recipe before the parser is built: its files, its name, its plugins."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lmkit.errors import UserError
from lmkit.registry import near


class Recipes(NamedTuple):
    """What a command line says of its recipes.

    Attributes:
        name: the first recipe's file name, without its ending; `run` without a recipe.
        plugins: the plugins of all recipes and of the command line, files as absolute paths.
        arguments: the command line without its `--plugins`.
        init_from: where the network is to start; none if nowhere.
        has_network: whether the network is told of, by a recipe or an option.
    """

    name: str
    plugins: list[str]
    arguments: list[str]
    init_from: str | None = None
    has_network: bool = True


def read_recipes(arguments: Sequence[str]) -> Recipes:
    """Reads the recipes that a command line names.

    Raises:
        UserError: one is missing or is not YAML.
    """
    paths: list[Path] = []
    plugins: list[str] = []
    rest: list[str] = []
    pending = iter(arguments)
    for argument in pending:
        option, given, value = argument.partition("=")
        if option not in ("-c", "--config", "--plugins", "--plugins+"):
            rest.append(argument)
            continue
        value = value if given else next(pending, "")
        if not value:
            raise UserError(f"{option} came without a value: give a path, as in {option} recipes/gpt-small.yaml")
        if option.startswith("--plugins"):
            plugins += [_locate(plugin, Path()) for plugin in _names(value, option)]
            continue
        paths.append(Path(value))
        plugins += [_locate(plugin, Path(value).parent) for plugin in _plugins_of(Path(value))]
        rest += [option, value]
    name = _name(paths[0]) if paths else "run"
    options = [argument.partition("=")[0] for argument in rest]
    if not paths and any(option.endswith(".help") for option in options[1:]):
        rest.insert(1, "--model=Pretraining")  # whose network has all the parts that help may be asked for
    elif not paths and "--model" not in options and any(option.startswith("--model.") for option in options):
        raise UserError("no recipe is named whose parts to change: give one, as in --config recipes/gpt-small.yaml")
    has_network = any("network" in _options_of_model(path) for path in paths) or "--model.network" in options
    return Recipes(name, list(dict.fromkeys(plugins)), rest, _init_from(paths, rest), has_network)


def _options_of_model(path: Path) -> dict[str, Any]:
    """What a recipe says of the task's options."""
    model = _read(path).get("model")
    options = model.get("init_args") if isinstance(model, dict) else None
    return options if isinstance(options, dict) else {}


def _init_from(paths: Sequence[Path], arguments: Sequence[str]) -> str | None:
    """What `model.init_from` is, by the last of the recipes and options that say it."""
    found = None
    for path in paths:
        found = _options_of_model(path).get("init_from", found)
    for number, argument in enumerate(arguments):
        option, given, value = argument.partition("=")
        if option == "--model.init_from":
            found = value if given else next(iter(arguments[number + 1 :]), None)
    return None if found in (None, "null", "") else str(found)


def _plugins_of(path: Path) -> list[str]:
    return _names(_read(path).get("plugins"), f"plugins in {path}")


def _read(path: Path) -> dict[str, Any]:
    """A recipe.

    Raises:
        UserError: it is missing, or no recipe.
    """
    if not path.is_file():
        others = [file.name for file in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        close = ", ".join(str(path.parent / name) for name in near(path.name, others) or sorted(others))
        raise UserError(f"no recipe {path}: {f'there is {close}' if close else 'give the path of a YAML file'}")
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML ({error}): correct it there") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path} is not a recipe: it needs keys such as model, data and trainer")
    return recipe


def _names(value: Any, where: str) -> list[str]:
    """A list of plugins, or one, from YAML or its text."""
    value = yaml.safe_load(value) if isinstance(value, str) else value
    names = [value] if isinstance(value, str) else value or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{where} is {value!r}: give a list of files, folders or modules, as in [plugins/my_norm.py]")
    return names


def _locate(plugin: str, base: Path) -> str:
    """The absolute path of a plugin that is a file or folder, relative to the recipe or to where we stand."""
    for path in (base / plugin, Path(plugin)):
        if path.exists():
            return str(path.resolve())
    if plugin.endswith(".py") or "/" in plugin:
        places = " or ".join(dict.fromkeys(str(place.resolve()) for place in (base, Path())))
        raise UserError(f"no plugin {plugin} in {places}: correct the path")
    return plugin


def _name(path: Path) -> str:
    """The run's name: the recipe's own, or that of the run whose full configuration this is."""
    return str(_read(path).get("name") or path.stem)
