"""The command line: flags in, exit code out. Commands are imported when they are asked for, so that `--help` is quick.

Exit codes are those of `errors`; a mistake of the user's prints one error with its remedy and never a traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from clipload import __version__
from clipload.cli.examples import VALIDATIONS, epilogue
from clipload.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, CliploadError


def _shown(default: object) -> str | None:
    """A default as the help tells it: that a flag is not given needs no saying."""
    return None if default is None or default is False or default == () else str(default)


app = App(
    name="clipload",
    version=__version__,
    help="Load generator for CLIP embedding servers, which says when it, and not the server, was the limit.",
    help_format="plaintext",
    default_parameter=Parameter(show_default=_shown),
    suppress_keyboard_interrupt=False,  # the exit code and the sentence are ours
)
app.command("clipload.cli.run:run", name="run", help="Measure one load and save the Run.", help_epilogue=epilogue())
app.command("clipload.cli.preflight:preflight", name="preflight", help="Ask a target who it is and whether it tells the truth.")
app.command("clipload.cli.report:report", name="report", help="Pages, pictures and tables of saved Runs.")
app.command("clipload.cli.compare:compare", name="compare", help="Say what changed from one load to another.")
app.command("clipload.cli.calibrate:calibrate", name="calibrate", help="Measure what the generator itself can do.")
app.command("clipload.cli.sweep:sweep", name="sweep", help="Measure many loads, one for each point of its axes.")
app.command("clipload.cli.find:find", name="find", help="Find the highest load that meets the objectives.")
app.command(
    "clipload.cli.validate:validate",
    name="validate",
    help="Check a server's vectors: groups, retrieval, parity.",
    help_epilogue=epilogue(VALIDATIONS),
)
app.command("clipload.cli.embed:embed", name="embed", help="Embed texts and images, and verify the dumps.")
app.command("clipload.cli.serve:serve", name="serve", help="Start the reference server.")


def with_dashes(arguments: Sequence[str]) -> list[str]:
    """`--base_url=x` and `--base-url=x` are the same flag, and a lone `-` is the value of the flag before it; what stands after
    a lone `--` is left alone."""
    out: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            return [*out, *arguments[position:]]
        if argument == "-" and out and out[-1].startswith("--") and "=" not in out[-1]:
            out[-1] += "=-"
            continue
        name, equals, value = argument.partition("=")
        out.append(name.replace("_", "-") + equals + value if name.startswith("--") else argument)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code."""
    sys.exit(_exit_code(with_dashes(sys.argv[1:] if arguments is None else arguments)))


def _exit_code(arguments: list[str]) -> int:
    def work() -> Any:
        return app(arguments, exit_on_error=False, print_error=False, result_action="return_value")

    return guarded(work, f"clipload {' '.join(arguments[:1])}")


def guarded(work: Callable[[], Any], name: str) -> int:
    """The exit code of `work`; `name`: whose --help there is."""
    try:
        result = work()
    except CliploadError as error:
        print(f"clipload: {error}", file=sys.stderr)
        return error.exit_code
    except CycloptsError as error:
        print(f"clipload: {error}\n  remedy: see {name} --help", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:  # whoever read has gone (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except KeyboardInterrupt as interruption:
        print(f"clipload: interrupted; {str(interruption) or 'no measurement was under way'}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001  - the roof: a defect of ours says so, and exits as such
        traceback.print_exc()
        print("clipload: this is a defect of clipload, not of your load", file=sys.stderr)
        return EXIT_INTERNAL
    return result if isinstance(result, int) else EXIT_OK
