"""``completion``: a script for shell completion, generated from the argument parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from neuralib.persistence._commands.screen import Screen

_BASH = """\
# Completion of neuralib-persistence for bash: eval "$(neuralib-persistence completion bash)"
_neuralib_persistence() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} command= earlier
    for earlier in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $earlier in
            {names}) command=$earlier; break ;;
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
    """Write the completion script for a shell."""
    parser: argparse.ArgumentParser = options.parser
    commands = next(action.choices for action in parser._actions if isinstance(action.choices, dict))
    cases = "\n".join(
        f'        {name}) words="{" ".join(_words(subparser))}" ;;' for name, subparser in commands.items()
    )
    script = _BASH.format(names="|".join(commands), top=" ".join([*commands, *_words(parser)]), cases=cases)
    screen.stream.write(_ZSH + script if options.shell == "zsh" else script)
    return 0


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Return the long options of *parser* and the choices of its positional arguments."""
    words = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    for action in parser._actions:
        if isinstance(action.choices, (list, tuple)) and not action.option_strings:
            words += [str(choice) for choice in action.choices]
    return words
