"""All hostile programs, by the name of their variant: ``name[notation]``."""

import coroutines
import environment
import exits
import finalisers
import fork
import misuse
import objects
import signals
import times
import tracing
from program import Hostile

import tonio  # noqa: F401 - brings the build up to date, before several programs would

TOPICS = (
    fork, exits, coroutines, finalisers, objects, misuse, tracing, signals, times, environment,
)  # fmt: skip

VARIANTS: dict[str, tuple[Hostile, str]] = {}

for topic in TOPICS:
    for program in topic.PROGRAMS:
        for notation in program.notations:
            name = f"{program.name}[{notation}]"
            assert name not in VARIANTS, name
            VARIANTS[name] = (program, notation)
