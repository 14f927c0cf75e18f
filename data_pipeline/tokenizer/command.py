"""`maxlm-data tokenizer`: trains, audits or extends."""

import argparse

from data_pipeline.config import DataConfig
from maxlm.errors import UserError


def add_options(sub: argparse.ArgumentParser) -> None:
    """The options beside those that every step has."""
    sub.add_argument("--audit", action="store_true", help="audit DATASET/tokenizer instead of training one")
    about = "audit, and measure another tokenizer beside it: a folder, a .model, a tokenizer.json; may be given again"
    sub.add_argument("--compare", action="append", default=[], metavar="PATH", help=about)
    about = "random strings, and byte strings, for the round trip (default: %(default)s)"
    sub.add_argument("--strings", type=int, default=100_000, metavar="N", help=about)
    sub.add_argument("--extend", default="", metavar="FILE", help="add the tokens of a file, one a line, to it")
    sub.add_argument("--out", default="", metavar="DIR", help="with --extend: the new tokenizer's folder")
    about = "with --extend: made by merges behind all others; one token wherever it stands; or that no text becomes"
    ways = ("merge", "always", "special")
    sub.add_argument("--as", dest="way", choices=ways, default="merge", help=f"{about} (default: %(default)s)")


def run(config: DataConfig, options: argparse.Namespace) -> str:
    """Does what the options ask for, and says in a line what was done."""
    from rich.console import Console

    from data_pipeline.tokenizer import extension, stage, tables

    if options.extend:
        if options.audit or options.compare:
            raise UserError("--extend goes without --audit and --compare; audit the new folder afterwards")
        if not options.out:
            raise UserError("--extend: name a folder for the new tokenizer (--out=DIR); the old one stays")
        told = extension.run(config, options.dataset, options.extend, options.out, options.way)
        tables.print_extension(told, Console())
        return f"the extended tokenizer stands in {options.out}"
    if options.out or options.way != "merge":
        raise UserError("--out and --as belong to --extend=FILE")
    if not options.audit and not options.compare:
        told = stage.run(config, options.dataset)
        found = f"audited, {len(told['findings'])} findings" if told["findings"] else "audited and clean"
        return f"tokenizer stands in {options.dataset}/tokenizer, {found} (look: maxlm-data tokenizer --audit)"
    if options.strings < 0:
        raise UserError(f"--strings: {options.strings} is less than 0")
    told = stage.run_audit(config, options.dataset, options.compare, options.strings)
    tables.print_audit(told, Console())
    return f"{len(told['findings'])} findings, {len(told['warnings'])} warnings (also in tokenizer/audit.json)"
