"""`lmkit`: finds the command and turns mistakes into one line. Imports no torch, so that `--help` answers at once."""

import difflib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence

from lmkit import __version__
from lmkit.errors import RunError, UserError

COMMANDS = {
    "fit": ("trainer", "train a network as a recipe says: lmkit fit --config recipes/gpt-small.yaml"),
    "validate": ("trainer", "measure a checkpoint on the validation documents"),
    "test": ("trainer", "measure a checkpoint on the test documents (of Text: those of validation)"),
    "predict": ("trainer", "write the loss of each row of text to predictions.jsonl"),
    "generate": ("generate", 'continue a text: lmkit generate runs/gpt-small --prompt "def read("'),
    "chat": ("chat", "talk with a network that has learned conversations: lmkit chat runs/sft"),
    "import": ("import_folder", "take in a Hugging Face folder: lmkit import Llama-3.2-1B llama"),
    "export": ("export", "write a Hugging Face folder, and prove it: lmkit export runs/gpt-small gpt-small-hf"),
    "plugins": ("plugins", "list the parts there are, show one, or write a new one: lmkit plugins list norm"),
    "ablate": ("ablate", "compare parts: a grid of runs over parts and seeds, given equal FLOPs"),
}
"""Command: the file of this folder that runs it, and its line of help."""

HELP = (
    "lmkit: language models from scratch, out of swappable parts.\n\n"
    "usage: lmkit COMMAND [OPTIONS]\n\ncommands:\n"
    + "\n".join(f"  {name:10} {line}" for name, (_, line) in COMMANDS.items())
    + "\n\n`lmkit COMMAND --help` lists a command's options; `lmkit --version` prints the version."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code: 0 done, 1 failed, 2 a mistake that the user can mend.

    Where it was stopped, by Ctrl-C or because nobody reads its output, the code is a shell's for that: 130 or 141.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character must not end a run
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if arguments[0] == "--version":
        print(f"lmkit {__version__}")
        return 0
    try:
        command = importlib.import_module(f"lmkit.cli.{_file_of(arguments[0])}")
        return command.run(arguments) or 0
    except UserError as error:
        return _mistake(str(error))
    except RunError as error:
        _mistake(str(error))
        return 1
    except BrokenPipeError:  # who read the output has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that leaving does not write there again
        return 141
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _mistake(f"no space is left on the disk of {error.filename or 'the run'}: make room and start again")
    except KeyboardInterrupt as stop:
        print(f"lmkit: interrupted{stop}", file=sys.stderr)
        return 130


def _file_of(command: str) -> str:
    if command in COMMANDS:
        return COMMANDS[command][0]
    if command.startswith("-"):
        raise UserError(f"{command} came before the command: put the command first, as in `lmkit fit {command} ...`")
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
    raise UserError(f"no command {command}: {meant}")


def _mistake(message: str) -> int:
    print(f"lmkit: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
