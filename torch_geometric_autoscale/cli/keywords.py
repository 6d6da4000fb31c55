"""``KEY=VALUE`` arguments of commands that take a handful of them, without Hydra."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import explain


class Keyword(NamedTuple):
    """An option of a command.

    Attributes:
        read: Makes a value of a text; raises :class:`ValueError` if it cannot.
        default: How the help shows the default.
        help: What the option is.
    """

    read: Callable[[str], Any]
    default: str
    help: str


def switch(text: str) -> bool:
    """Truth in one of its spellings."""
    if text.lower() not in ('true', 'false', 'on', 'off', 'yes', 'no', '1', '0'):
        raise ValueError('true or false')
    return text.lower() in ('true', 'on', 'yes', '1')


def whole(text: str) -> int:
    """A whole number; thousands may be set apart by ``_``."""
    try:
        return int(text)
    except ValueError:
        raise ValueError('a whole number') from None


def decimal(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError('a number') from None


def names(text: str) -> list[str]:
    """Words between commas."""
    found = [word.strip() for word in text.split(',')]
    if not all(found):
        raise ValueError('names with commas between them')
    return found


def read_keywords(
    who: str, arguments: Sequence[str], known: Mapping[str, Keyword]
) -> dict[str, Any]:
    """Values by name of ``KEY=VALUE`` arguments.

    Raises:
        ValueError: One is no ``KEY=VALUE``, is not known (near ones are listed), is given twice,
            or has a value of another type.
    """
    found: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition('=')
        if not equals:
            raise ValueError(
                explain(who, 'options must be KEY=VALUE', repr(argument), f"See '{who} --help'.")
            )
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
            raise ValueError(
                explain(who, 'the option must exist', f"'{key}'",
                        f'Did you mean {" or ".join(near)}?' if near else
                        f'Options are {", ".join(known)}.')
            )  # fmt: skip
        if key in found:
            raise ValueError(
                explain(who, 'an option can be given once', f"'{key}' twice", 'Leave one out.')
            )
        if text == 'null' == known[key].default:
            found[key] = None
            continue
        try:
            found[key] = known[key].read(text)
        except ValueError as error:
            default = known[key].default
            remedy = known[key].help if default == '???' else f'its default is {default}'
            raise ValueError(
                explain(who, f"'{key}' must be {error}", repr(text),
                        f'{remedy[0].upper()}{remedy[1:]}.')
            ) from None  # fmt: skip
    return found


def describe_keywords(known: Mapping[str, Keyword]) -> str:
    """The options of a command, as its help lists them."""
    shown = {f'{key}={word.default}': word.help for key, word in known.items()}
    width = max(map(len, shown))
    return '\n'.join(f'  {name:<{width}}  {text}' for name, text in shown.items())
