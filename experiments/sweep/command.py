"""The command line of a trial: W&B's `command` macros filled in.

Values are written so that YAML reads them back as they were: mappings and lists as JSON, true and
null in YAML's spelling, small numbers with a dot (1.0e-05, since YAML 1.1 takes 1e-05 for text).
"""

import itertools
import json
import math
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.config.located import Located, located, read_value
from experiments.errors import ConfigError, Findings, nearest, shown

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
MACRO = re.compile(r"\$\{([^}]*)\}")
ARGUMENTS = (
    "args",
    "args_no_hyphens",
    "args_no_boolean_flags",
    "args_no_equals",
    "args_append_hydra",
    "args_override_hydra",
    "args_json",
    "args_json_file",
)
MACROS = ("env", "interpreter", "program", *ARGUMENTS, "envvar:NAME")
JSON_FILE = "parameters.json"
TRAIN = ("experiments", "train")  # after -m
FIRST = "RECIPE"  # the word of `train` that needs no name
PROGRAM = "train.py"  # what a file names that gives no command
# What `train` does not read; each has a form that says the same.
FOREIGN_TO_TRAIN = ("args_no_equals", "args_no_boolean_flags", "args_json_file")


def words_at(node: Located) -> list[Located]:
    """The words of a sweep file's `command`: a list, or one text that is split as a shell does.
    Raises ConfigError.
    """
    if isinstance(node.value, str):
        try:
            words = shlex.split(node.value)
        except ValueError as error:
            node.fail(f"not readable as a command line: {error}")
        return [replace(node, value=word) for word in words]
    if not node.items:
        node.fail(f"expected a list of words, found {shown(node.value)}")
    for item in node.items:
        if not isinstance(item.value, (str, int, float)) or isinstance(item.value, bool):
            item.fail(f"expected a word, found {shown(item.value)}; put it in quotes")
    return list(node.items)


def check_macros(words: Sequence[str], program: str | None) -> None:
    """Refuse macros that are unknown, lack their program or variable, or stand inside a word."""
    for word in words:
        for name in MACRO.findall(word):
            if name.startswith("envvar:"):
                variable = name.removeprefix("envvar:")
                if variable not in os.environ:
                    raise ValueError(f"${{{name}}}: the environment has no variable {variable}")
            elif name not in MACROS:
                raise ValueError(f"unknown macro ${{{name}}}{nearest(name, MACROS)}")
            elif name == "program" and program is None:
                raise ValueError("${program} is used, but the file gives no 'program'")
            elif word != f"${{{name}}}":
                raise ValueError(f"${{{name}}} must be a word of its own, found {word!r}")
            elif name in FOREIGN_TO_TRAIN and is_train(words, program):
                raise ValueError(f"'train' does not read ${{{name}}}; write ${{args_no_hyphens}}")
    for module, verb in zip(words, words[1:], strict=False):
        if module == TRAIN[0] and verb != TRAIN[1] and "-m" in words[: words.index(module)]:
            raise ValueError(f"a trial is '-m experiments train', found {verb!r} for the verb")
    if not any(word == f"${{{name}}}" for word in words for name in ARGUMENTS):
        raise ValueError("no macro hands the parameters over; end it with ${args_no_hyphens}")


def expand(
    words: Sequence[str], program: str | None, parameters: Mapping[str, object], folder: Path
) -> list[str]:
    """The words of one trial's command; ${args_json_file} is written into `folder`."""
    line: list[str] = []
    for word in words:
        macro = MACRO.fullmatch(word)
        name = macro.group(1) if macro else ""
        if name in ARGUMENTS:
            line += _arguments(name, parameters, folder)
        elif name == "env":
            line += ["/usr/bin/env"]
        elif name == "interpreter":
            line += [sys.executable]
        elif name == "program":
            line += [program or ""]
        else:
            line += [_filled(word)]
    return line


def _filled(word: str) -> str:
    """A word with the values of the variables that it names."""
    return MACRO.sub(lambda found: os.environ.get(found.group(1)[7:], found.group(0)), word)


def written(value: object) -> str:
    """A value as one command-line word that YAML reads back equal."""
    if isinstance(value, str):
        try:
            plain = read_value(value).value == value
        except ConfigError:
            plain = False
        return value if plain else json.dumps(value)
    return _flow(value)


def is_train(words: Sequence[str], program: str | None = None) -> bool:
    """Whether the command runs `train`, by its module or by the program that stands for it."""
    filled = [program or "" if word == "${program}" else word for word in words]
    by_module = any(filled[i : i + 2] == [*TRAIN] for i in range(len(filled)))
    return by_module or any(Path(word).name == PROGRAM for word in filled)


def not_found(words: Sequence[str], program: str | None) -> str | None:
    """What of a command is not on this machine: the program that it starts, or the script that an
    interpreter is given; None where all is, as far as it can be told.
    """
    line = [_filled(word) for word in expand(words, program, {}, Path("."))]
    if line and Path(line[0]).name == "env":
        line = line[1:]
        while line and re.fullmatch(r"[A-Za-z_]\w*=.*", line[0]) and line[0][:5] != "PATH=":
            line = line[1:]
        if not line or line[0][:1] == "-" or "=" in line[0]:
            return None
    if not line:
        return None
    if shutil.which(line[0], path=search_path()) is None:
        return f"{shown(line[0])}: there is no such program on this machine"
    if not Path(line[0]).name.startswith("python"):
        return None
    scripts = itertools.dropwhile(
        lambda word: word in ("-u", "-O", "-S", "-E", "-B", "-I"), line[1:]
    )
    script = next(scripts, "")
    if not script.endswith(".py") or Path(script).is_file():
        return None
    return f"{shown(script)}: no such file below {Path.cwd()}; 'program: {PROGRAM}' is ours"


def search_path() -> str:
    """Where a trial's programs are looked for: last beside this interpreter, where its launchers
    (torchrun) are, whether or not the environment is activated.
    """
    beside = str(Path(sys.executable).parent)
    return os.pathsep.join(filter(None, (os.environ.get("PATH"), beside)))


def own_words(words: Sequence[str], program: str | None = None) -> list[str]:
    """The words of a command that configure its trials: those after the verb, or else after the
    program. What stands before is a launcher's, or the system's.
    """
    listed = [*words]
    filled = [program if word == "${program}" else word for word in words]
    for i in range(len(listed)):
        if filled[i : i + 2] == [*TRAIN]:
            return listed[i + 2 :]
    for i, word in enumerate(listed):
        if word == "${program}" or word.endswith(".py"):
            return listed[i + 1 :]
    return listed[listed.index("-m") + 2 :] if "-m" in listed else listed


def fixed_words(
    words: Sequence[str],
    places: Mapping[str, Located],
    program: str | None = None,
    *,
    swept: bool = False,
) -> dict[str, Located]:
    """The values and the recipe (`config`) that a command gives to every trial, each at the place
    of its word. `swept`: a parameter names recipes too.

    Raises ConfigError with each word that `train` would refuse, so that no trial has to.
    """
    findings = Findings()
    fixed: dict[str, Located] = {}
    pairs = _train_words if is_train(words, program) else _other_words
    own = [word for word in own_words(words, program) if not _hands_over(word)]
    for word, key, value in pairs(own):
        place = places[word]
        with findings.kept():
            if key is None:
                place.fail(value)
            if key == FIRST and swept:
                place.fail(f"the recipe {shown(value)} leaves none for the parameter 'config'")
            key = "config" if key == FIRST else key
            node = at(value, place)
            if key != "config":
                node = at(read_value(value, Path(place.place), key).value, place)
            elif value.startswith("{"):
                node = at(read_value(value, Path(place.place), key).value, place)
            if key in fixed and fixed[key].value != node.value:
                both = f"{shown(fixed[key].value)} and {shown(node.value)}"
                place.fail(f"{key}: is given more than once, as {both}")
            fixed[key] = node
    findings.told()
    return fixed


def _hands_over(word: str) -> bool:
    macro = MACRO.fullmatch(word)
    return macro is not None and macro.group(1) in ARGUMENTS


Pairs = Iterator[tuple[str, str | None, str]]  # word of the file, key, value; or what is wrong


def _train_words(words: Sequence[str]) -> Pairs:
    """As `train` reads them (verbs/arguments.py)."""
    following = iter(words)
    for word in following:
        text = _filled(word)
        option, equals, value = text.partition("=")
        if option in ("--config", "--out", "--tape-gib") and not equals:
            word = next(following, word)
            value = _filled(word)
        key = option.lstrip("-+")
        if option == "--out":
            yield word, None, "--out would be one folder of all trials; give it to `sweep` instead"
        elif text.startswith("{"):
            values = read_value(text).keys
            yield from ((word, name, written(kid.value)) for name, kid in values.items())
        elif option == "--config" or (equals and key == "config"):
            yield word, "config", value
        elif not equals and text[:1] not in ("-", "+"):
            yield word, FIRST, text
        elif equals and all(key.split(".")):
            if option != "--tape-gib":
                yield word, key, value
        elif option not in ("--", "--tape-gib"):
            yield word, None, f"'train' does not read {shown(text)}; a value is given as key=value"


def _other_words(words: Sequence[str]) -> Pairs:
    """Of another program: what looks like values and a recipe."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        key, equals, text = _filled(word).lstrip("-+").partition("=")
        if equals and re.fullmatch(r"[A-Za-z_][\w.]*", key):
            yield word, key, text
        elif word == "--config" and following:
            yield following, "config", _filled(following)


def at(value: object, place: Located) -> Located:
    """A plain value as a tree at the place of another node."""
    return _moved(located(value, place.key, place.path), place.line)


def _moved(node: Located, line: int) -> Located:
    keys = {name: _moved(kid, line) for name, kid in node.keys.items()}
    return replace(node, line=line, keys=keys, items=tuple(_moved(kid, line) for kid in node.items))


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(str(key))}: {_flow(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_flow(item) for item in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = json.dumps(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


def _arguments(name: str, parameters: Mapping[str, object], folder: Path) -> list[str]:
    pairs = {key: f"{key}={written(value)}" for key, value in parameters.items()}
    if name == "args":
        return [f"--{pair}" for pair in pairs.values()]
    if name == "args_no_hyphens":
        return list(pairs.values())
    if name == "args_append_hydra":
        return [f"+{pair}" for pair in pairs.values()]
    if name == "args_override_hydra":
        return [f"++{pair}" for pair in pairs.values()]
    if name == "args_no_equals":
        return [part for key, value in parameters.items() for part in (f"--{key}", written(value))]
    if name == "args_no_boolean_flags":
        flags = {key: f"--{pair}" for key, pair in pairs.items() if parameters[key] is not False}
        return [f"--{key}" if parameters[key] is True else flag for key, flag in flags.items()]
    text = json.dumps(dict(parameters))
    if name == "args_json":
        return [text]
    path = folder / JSON_FILE
    path.write_text(text, encoding="utf-8")
    return [str(path)]
