"""Study files and command lines are read, and mistakes in them told."""

import argparse
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from pydantic import Field, ValidationError, create_model
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsConfigDict, SettingsError

from search.config.sources import PATHS, SOURCES, MachineData
from search.config.study import StudyConfig, look_up
from search.errors import ConfigError, nearest


class _Settings(StudyConfig, BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class _Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest setting when one is unknown."""

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (-\S+)", message)
        if unknown:
            word = unknown[1].split("=")[0]
            message = f"{word} is not a setting. {nearest(word, self._option_string_actions)}"
        raise ConfigError(message)


def load_config(path: Path | str, **overrides: Any) -> StudyConfig:
    """Read a study file.

    Args:
        path: A TOML file.
        **overrides: Settings that replace the file's, for example ``budget={"trials": 5}``.

    Returns:
        The checked study.

    Raises:
        ConfigError: If the file cannot be read, or a setting is unknown or wrong.
    """
    return make_config(_merge(_read_toml(Path(path)), overrides))


def parse_config(arguments: Sequence[str], default: Path) -> StudyConfig:
    """Read a study file and the settings that replace its own, from a command line.

    Args:
        arguments: The command line without the program: ``[STUDY.toml] [--section.field VALUE ...]``.
        default: The study file where the command line names none.

    Returns:
        The checked study.

    Raises:
        ConfigError: If the file cannot be read, or a setting is unknown or wrong.
        SystemExit: After ``--help`` was printed.
    """
    parser = _Parser(
        description="Launch a study, or continue it.",
        epilog="Every setting can stand in the study file, under its section, as well. None takes "
        "back what the file sets.",
        allow_abbrev=False,
    )
    parser.add_argument("study", nargs="?", default=default, metavar="STUDY.toml", type=Path)
    source: CliSettingsSource[argparse.ArgumentParser] = CliSettingsSource(
        _make_settings(arguments, default),
        root_parser=parser,
        parse_args_method=lambda root, words: root.parse_args(words),
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )
    try:
        overrides = source(args=list(arguments))()
    except SettingsError as exc:
        raise ConfigError(
            f"The command line must give one value for each setting: {exc}. Write sections as "
            f"--budget.trials 20, and tables as JSON."
        ) from None
    path = parser.parse_args(list(arguments)).study
    return make_config(_merge(_read_toml(path), overrides))


def _make_settings(arguments: Sequence[str], default: Path) -> type[_Settings]:
    """Make what a command line may say: under ``data``, the settings of the source in use alone."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    named = [after for word, after in pairwise(words) if word == "--data.source"]
    if not named:
        files = [Path(word) for word in words if word.endswith(".toml")]
        if not files and arguments and not arguments[0].startswith("-"):
            return _Settings  # a study file of another name
        with suppress(ConfigError):  # told when the whole command line is read
            settings = _read_toml(files[0] if files else default)
            named.append(look_up(settings, "data", "source") or MachineData().source)
    data = SOURCES.get(str(named[-1])) if named else None
    if data is None:
        return _Settings
    return create_model(
        "_Settings", __base__=_Settings, data=(data, Field(description="The data set."))
    )


def make_config(settings: Mapping[str, Any]) -> StudyConfig:
    """Check settings and freeze them.

    Args:
        settings: Nested settings, as a study file holds them.

    Returns:
        The checked study.

    Raises:
        ConfigError: If a setting is missing, unknown or wrong; it names each of them.
    """
    try:
        return StudyConfig.model_validate(dict(settings))
    except ValidationError as exc:
        found: dict[tuple[str | int, ...], list[Mapping[str, Any]]] = {}
        for error in exc.errors():
            found.setdefault(_find_setting(error["loc"], settings), []).append(error)
        raise ConfigError("\n".join(_explain(*one) for one in found.items())) from None


def _find_setting(loc: Sequence[str | int], settings: Any) -> tuple[str | int, ...]:
    """Name the setting that an error is about, without what pydantic calls the types that it may have."""
    place = list(loc)
    if place[:1] == ["data"] and place[1:2] and place[1] in SOURCES:
        del place[1]  # the source in use, which stands in no study file as a section
    for depth, part in enumerate(place):
        if isinstance(settings, Mapping):
            settings = settings.get(part)
        elif isinstance(settings, list | tuple) and isinstance(part, int):
            settings = settings[part]
        else:
            return tuple(place[:depth])
    return tuple(place)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # as Windows may write it
    except OSError as exc:
        raise ConfigError(
            f"The study file must be a readable TOML file: {exc.strerror}. Received: {str(path)!r}."
        ) from None
    except (ValueError, RecursionError) as exc:  # numbers too long, lists in lists too deep
        raise ConfigError(f"The study file {str(path)!r} is not TOML: {exc}.") from None
    data = settings.get("data")
    if isinstance(data, dict):
        for field in PATHS & data.keys():
            if isinstance(data[field], str):
                data[field] = str(path.parent / data[field])
    return settings


def _merge(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for key, value in overrides.items():
        inner = merged.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            # Another source has settings of its own: the first one's mean nothing to it.
            other = value.get("source", inner.get("source")) != inner.get("source")
            merged[key] = dict(value) if other else _merge(inner, value)
        else:
            merged[key] = value
    return merged


def _explain(place: Sequence[str | int], errors: Sequence[Mapping[str, Any]]) -> str:
    """Write what is wrong with one setting as a sentence that says what to write instead.

    Args:
        place: The setting's name and those of the sections around it, from outside.
        errors: What pydantic says; several for a setting of several types, one each.

    Returns:
        The sentence.
    """
    name, error = ".".join(map(str, place)), errors[0]
    received = error.get("input")
    if error["type"] == "extra_forbidden":
        return f"{name} is not a setting. {nearest(str(place[-1]), _fields_beside(error['loc']))}"
    if error["type"] == "missing":
        return f"{name} must be given. Add it to the study file or write --{name} VALUE."
    if error["type"] == "union_tag_invalid":
        tag = error["ctx"]["tag"]
        return f"{name}.source must be a source. Received: {tag!r}. {nearest(tag, SOURCES)}"
    if error["type"] == "union_tag_not_found":
        return f"{name}.source must be given. {nearest('', SOURCES)}"
    rule = error["msg"].removeprefix("Value error, ")
    if rule.startswith(name.split(".")[0] + "."):
        return str(rule)
    others = (other["msg"].removeprefix("Input should be ") for other in errors[1:])
    rule = ", or ".join((rule, *others))
    return f"{name or 'The study'}: {rule}. Received: {received!r}."


def _fields_beside(place: Sequence[str | int]) -> set[str]:
    """Name the settings that stand in the section where an unknown one was found."""
    if len(place) == 1:
        return set(StudyConfig.model_fields)
    section = StudyConfig.model_fields[str(place[0])].annotation
    if place[0] == "data":
        section = SOURCES.get(str(place[1]), section)
    return set(getattr(section, "model_fields", ()))
