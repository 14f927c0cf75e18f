"""`maxlm fit --data=RUNS.csv --kind=loss`"""

import argparse
from typing import Any

from rich.console import Console
from rich.table import Table

from maxlm.config import Overrides
from maxlm.errors import ConfigError
from maxlm.paths import as_path, write_atomic, write_json
from maxlm.report.fits import number, page
from maxlm.scaling.kinds import KINDS, Settings
from maxlm.scaling.points import read_points


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    parser.add_argument("--data", required=True, metavar="FILE", help="a CSV, JSON lines, or the folder of a sweep")
    parser.add_argument("--kind", choices=list(KINDS), default="loss", help="what is fitted (default: %(default)s)")
    parser.add_argument(
        "--columns", metavar="params=NAME,…", default="", help="what the file calls params, tokens, flops, loss, …"
    )
    parser.add_argument("--drop-highest", type=int, default=0, metavar="N", help="leave out the N highest losses")
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", help="only these runs")
    parser.add_argument("--out", metavar="FILE", help="write the fit as JSON; maxlm plan --fit=FILE reads it")
    parser.add_argument("--page", metavar="FILE", help="write a page with the curves")
    parser.add_argument("--hold-out", type=float, default=default.hold_out, metavar="SHARE", help="loss: runs of most "
                        "compute that a second fit must foretell (default: %(default)s)")  # fmt: skip
    parser.add_argument("--delta", type=float, default=default.delta, help="loss: Huber's δ (default: %(default)s)")
    parser.add_argument("--refits", type=int, default=default.refits, metavar="N", help="for intervals (%(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--target", default="", metavar="DOMAIN=WEIGHT,…", help="mixture: losses to make small")
    parser.add_argument("--bound", default="", metavar="DOMAIN=LOW:HIGH,…", help="mixture: limits of shares")
    parser.add_argument("--natural", default="", metavar="DOMAIN=SHARE,…", help="mixture: what to compare with")
    parser.add_argument("--by", default=default.by, metavar="COLUMN", help="curriculum: what is compared (%(default)s)")
    parser.add_argument("--baseline", metavar="VALUE", help="curriculum: what the others are compared with")
    parser.add_argument("--task", default="", metavar="TASK", help="downstream: columns loss/TASK and accuracy/TASK")
    parser.add_argument("--chance", type=float, metavar="SHARE", help="downstream: accuracy of guessing")


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    settings = Settings(
        hold_out=arguments.hold_out, delta=arguments.delta, refits=arguments.refits, seed=arguments.seed,
        targets={name: _float("--target", value) for name, value in _pairs("--target", arguments.target).items()},
        bounds={name: _range(value) for name, value in _pairs("--bound", arguments.bound).items()},
        natural={name: _float("--natural", value) for name, value in _pairs("--natural", arguments.natural).items()},
        by=arguments.by, baseline=arguments.baseline, task=arguments.task, chance=arguments.chance,
    )  # fmt: skip
    points = read_points(arguments.data, _pairs("--columns", arguments.columns))
    for condition in arguments.where:
        ((name, value),) = _pairs("--where", condition).items()
        points = points.where(name, value)
    found = KINDS[arguments.kind](points.without_highest(arguments.drop_highest), settings)
    if arguments.out:
        write_json(as_path(arguments.out), found)
    if arguments.page:
        write_atomic(as_path(arguments.page), page(found))
    _print(found)
    for path in filter(None, (arguments.out, arguments.page)):
        print(f"wrote {path}")


def _pairs(name: str, text: str) -> dict[str, str]:
    pairs = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not (equals and key and value):
            raise ConfigError(f"{name} {text}: pairs NAME=VALUE, found {part!r}")
        pairs[key] = value
    return pairs


def _float(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {text!r} is no number") from error


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    return _float("--bound", low or "0"), _float("--bound", high or "1")


def _print(found: dict[str, Any]) -> None:
    console = Console(highlight=False)
    table = Table("constant", "value", "95 % interval", title=f"{found['form']}, {found['points']} runs")
    for name, value in found["constants"].items():
        ends = found["intervals"].get(name)
        table.add_row(name, number(value), "–" if ends is None else f"{number(ends[0])} to {number(ends[1])}")
    console.print(table)
    if "best_params_exponent" in found:
        best = found["best_params_exponent"]
        console.print(f"best N grows as C^{best['value']:.3f} ({best['interval'][0]:.3f} to {best['interval'][1]:.3f})")
    if "predicted_gain" in found:
        gain = found["predicted_gain"]
        console.print(f"by the {found['law']} law {number(gain['value'])} below the natural mixture's loss "
                      f"({number(gain['interval'][0])} to {number(gain['interval'][1])})", soft_wrap=True)  # fmt: skip
    for one in found.get("compared", ()):
        ends = f"{number(one['interval'][0])} to {number(one['interval'][1])}"
        verdict = "significant" if one["significant"] else "may be chance"
        said = f"{one['name']} against {found['baseline']}: {one['difference']:+.4f} ({ends}), p {one['p_holm']:.3f}"
        console.print(f"{said}: {verdict}", soft_wrap=True)
    for text in found.get("warnings", ()):
        console.print(f"warning: {text}", soft_wrap=True, style="bold")
    held_out = found["held_out"]
    if held_out is None:
        console.print("nothing was held out: how well this foretells is not known")
    else:
        console.print(f"held out: {held_out['points']} foretold with {held_out['mean_error']:.2%} error on average, "
                      f"{held_out['largest_error']:.2%} at the most", soft_wrap=True)  # fmt: skip
