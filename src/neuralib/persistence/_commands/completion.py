"""``completion``: what makes a shell complete the command, made from the parser itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from neuralib.persistence._commands.screen import Screen

_BASH = """\
# Completion of neuralib-persistence for bash: eval "$(neuralib-persistence completion bash)"
_neuralib_persistence() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} command= it
    for it in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $it in
            {names}) command=$it; break ;;
        esac
    done
    local words="{top}"
    case $command in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [[ $word == -* || -z $command ]] || COMPREPLY+=($(compgen -f -- "$word"))
}}
complete -o filenames -F _neuralib_persistence neuralib-persistence
"""
_ZSH = """\
# Completion of neuralib-persistence for zsh: eval "$(neuralib-persistence completion zsh)"
autoload -U +X bashcompinit && bashcompinit
"""


def completion(options: argparse.Namespace, screen: Screen) -> int:
    """Write the completion script of a shell."""
    parser: argparse.ArgumentParser = options.parser
    commands = next(it.choices for it in parser._actions if isinstance(it.choices, dict))
    cases = "\n".join(f'        {name}) words="{" ".join(_words(it))}" ;;' for name, it in commands.items())
    script = _BASH.format(names="|".join(commands), top=" ".join([*commands, *_words(parser)]), cases=cases)
    screen.stream.write(_ZSH + script if options.shell == "zsh" else script)
    return 0


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Return the options of *parser*, and what its arguments may be."""
    found = [it for action in parser._actions for it in action.option_strings if it.startswith("--")]
    for action in parser._actions:
        if isinstance(action.choices, (list, tuple)) and not action.option_strings:
            found += [str(it) for it in action.choices]
    return found
