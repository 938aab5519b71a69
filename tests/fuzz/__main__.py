"""`python -m tests.fuzz`: tries inputs that nobody thought of on everything that reads what others wrote.

Nothing is measured but the kinds of answers: an input whose answer is of a new kind is kept and changed further.
`--keep` writes these to tests/corpus/fuzz, from where the next run begins and the unit tests try them.
"""

import argparse
import logging
import sys
import time
from random import Random

from tests.corpus.vectors import escaped
from tests.fuzz.running import Fuzzer, fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    names = [target.name for target in TARGETS]
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="how long")
    length.add_argument("--seconds", type=float, default=5.0, help="the same in seconds; default 5")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--target", choices=names, action="append", help="only this one; may be repeated")
    parser.add_argument("--keep", action="store_true", help="add what is interesting to tests/corpus/fuzz")
    given = parser.parse_args()
    logging.disable()
    print(f"fuzz: seed {given.seed}", flush=True)
    wanted = [target for target in TARGETS if target.name in (given.target or names)]
    fuzzers = [Fuzzer(target, Random(f"{given.seed} {target.name}")) for target in wanted]
    fuzz(fuzzers, given.minutes * 60 if given.minutes else given.seconds)
    for fuzzer in fuzzers:
        kept = f", {fuzzer.keep()} kept" if given.keep else ""
        print(f"{fuzzer.target.name:14} {fuzzer.tried:9,} inputs, {len(fuzzer.kinds):5,} kinds of answers{kept}")
    findings = [finding for fuzzer in fuzzers for finding in fuzzer.findings.values()]
    for finding in findings:
        print(f"\n{finding.target}: {finding.why}\n  {escaped(finding.data)}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
