"""`torchatlas completion`: what the Tab key completes, said by the same signatures as everything else.

The shells ask `torchatlas --complete WORD ...`, whose last word is the one at the cursor, and get a line for each word
that it can become, with its description behind a tab. Where there is none they complete names of files.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from ..errors import UserError
from ..packages import taken
from ..zoo import GROUPS, config_keys, headline, options, settings
from . import signature
from .signature import Command, Key
from .words import written

SCRIPTS = {
    "bash": r"""
_torchatlas() {
    local line word key
    local -a words
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]} - 1]}
    key=${word%"${word##*=}"}
    COMPREPLY=()
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        COMPREPLY+=("${line#"$key"}")
    done < <(torchatlas --complete "${words[@]:1}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -gt 0 ]]; then
        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
        return
    fi
    compopt -o filenames 2>/dev/null
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${word#"$key"}")
}
complete -F _torchatlas torchatlas
""",
    "zsh": r"""
#compdef torchatlas
_torchatlas() {
    local line
    local -a keys key_lines found lines
    for line in "${(@f)$(torchatlas --complete "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}"; do
        [[ -z $line ]] && continue
        if [[ ${line%%$'\t'*} == *= ]]; then
            keys+=("${line%%$'\t'*}"); key_lines+=("${line/$'\t'/  }")
        else
            found+=("${line%%$'\t'*}"); lines+=("${line/$'\t'/  }")
        fi
    done
    if (( ${#keys} + ${#found} )); then
        compadd -l -S '' -d key_lines -a keys
        compadd -l -d lines -a found
    else
        compset -P '*='
        _files
    fi
}
compdef _torchatlas torchatlas
""",
    "fish": r"""
function __torchatlas
    set -l word (commandline -ct)
    set -l before (commandline -opc)
    set -l found (torchatlas --complete $before[2..-1] "$word" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        set -l key (string match -r '^.*=' -- "$word")
        for path in (__fish_complete_path (string replace -r '^.*=' '' -- "$word"))
            echo "$key$path"
        end
    end
end
complete -c torchatlas -f -a '(__torchatlas)'
""",
}


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """The script by which a shell completes commands, keys and values.

    Put the line for your shell where it starts: bash in ~/.bashrc, zsh in ~/.zshrc behind compinit, fish in
    ~/.config/fish/config.fish.

    Args:
        shell: the one in use.

    Examples:
        eval "$(torchatlas completion bash)"
        eval "$(torchatlas completion zsh)"
        torchatlas completion fish | source
    """
    print(SCRIPTS[shell].strip())


def complete(words: Sequence[str]) -> None:
    """Print what the last word can become."""
    for word, about in dict(candidates(words)).items():
        print(f"{word}\t{about}" if about else word)


def candidates(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What the last word can become, and descriptions."""
    *before, now = words or [""]
    with contextlib.suppress(UserError):
        before = taken(before)
    if not before:
        found: Iterable[tuple[str, str]] = names()
    else:
        try:
            found = further(signature.read(before[0]), before[1:], now)
        except UserError:
            found = []
    return ((word, about) for word, about in found if word.startswith(now))


def names() -> Iterator[tuple[str, str]]:
    """The commands."""
    return ((name, signature.headline(place)) for name, place in sorted(signature.places().items()))


def further(command: Command, before: Sequence[str], now: str) -> Iterator[tuple[str, str]]:
    """Words behind a command's name."""
    last = before[-1] if before else ""
    option = last[2:] if last[2:] in command.keys else last[2:].replace("-", "_")
    if last.startswith("--") and option in command.keys and command.keys[option].kind != "bool":
        yield from values(command.keys[option], now)
    elif "=" in now:
        typed = now.partition("=")[0]
        key = typed.lstrip("-").replace("-", "_")
        own = command.keys.get(key, Key(key, key))
        yield from ((f"{typed}={value}", about) for value, about in values(own, now.partition("=")[2]))
    else:
        yield from keys(command, before, now)


def keys(command: Command, before: Sequence[str], now: str) -> Iterator[tuple[str, str]]:
    """Keys that are not there yet, those inside a group once it is typed with its dot, and a word without a key."""
    dashes = "--" if now.startswith("-") else ""
    given = {word.partition("=")[0].lstrip("-").replace("-", "_") for word in before}
    bare = [key for key in command.keys.values() if key.positional]
    missing = bare[sum("=" not in word for word in before) :]
    yield from values(missing[0], "") if missing and not dashes else ()
    for key in command.keys.values():
        if not key.positional and key.key not in given:
            yield f"{dashes}{key.key}=", key.help
    if command.words in ("training", "raw"):
        found = settings(before) if "." in now else config_keys()
        yield from ((f"{dashes}{key}=", "") for key in found if key not in given)


def values(key: Key, now: str) -> Iterator[tuple[str, str]]:
    """Values of a key that can be said; of several with commas between, those for the last one."""
    before = now[: now.rfind(",") + 1] if key.many else ""
    if key.key in GROUPS:
        yield from ((name, headline(key.key, name)) for name in options(key.key))
    elif key.key == "command":
        yield from names()
    elif key.choices or key.kind == "bool":
        yield from ((before + choice, "") for choice in key.choices or ("true", "false"))
    elif key.kind in ("int", "float") and key.default not in (..., None):
        yield written(key.default), "the default"
