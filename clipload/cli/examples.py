"""Commands to begin with, as `--help` shows them. A test runs each of them."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES = {
    "closed loop": "clipload run --concurrency 16 --mode text --duration 30s",
    "open loop": "clipload run --rate 200 --warmup 2s --duration 30s",
    "objectives": "clipload run --rate 200 --warmup 2s --duration 1m --slo 'p99<200ms' --slo 'errors<0.1%' --until 'p99±10%'",
    "ramp": "clipload run --ramp 50:400 --duration 2m",
    "trace": "clipload run --trace arrivals.txt --speedup 2",
    "Flickr8k": "clipload run --rate 50 --duration 30s --data-source flickr8k --flickr-images-dir Flicker8k_Dataset "
    "--flickr-captions-file Flickr8k.token.txt",
    "folder": "clipload run --rate 50 --duration 30s --data-source folder --data photos --mode image",
    "several servers": "clipload run --rate 100 --duration 30s --base-url http://127.0.0.1:30000 --base-url http://127.0.0.1:30001",
}
_FLICKR = "--flickr-images-dir Flicker8k_Dataset --flickr-captions-file Flickr8k.token.txt"
VALIDATIONS = {
    "groups": f"clipload validate --samples 10 --start-group 58 {_FLICKR} --dump validation.txt",
    "the same vectors as the model here": f"clipload validate --against local --model MODEL {_FLICKR}",
    "retrieval through the server": f"clipload validate --recall {_FLICKR}",
    "retrieval from dumps": "clipload validate --from-dumps texts.npy images.npy",
}
LINE = 74  # columns, so that margins and the backslash fit into a terminal


def epilogue(examples: Mapping[str, str] = EXAMPLES) -> str:
    """The examples, each under its name, long ones folded as a shell would take them."""
    return "\n".join(["Examples", *(f"\n{name}:\n{_folded(command)}" for name, command in examples.items())])


def _folded(command: str) -> str:
    """No flag stands on another line than its value."""
    lines = [""]
    for part in command.replace(" --", "\n--").split("\n"):
        if len(lines[-1]) + len(part) > LINE:
            lines[-1] += "\\"
            lines.append("    ")
        lines[-1] += part + " "
    return "\n".join(f"  {line.rstrip()}" for line in lines)
