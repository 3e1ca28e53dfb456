"""Meet here: the one place where folders, journal, workers and signals come together.

A turn of the loop, in this order, because each step may only rely on what is durable then::

    wait for a hint, a worker, a signal or the next due time
    hear the workers                 their outcomes and steps become records
    claim what is ready              its files are durable in active/, then recorded
    commit                           one sync; only now are outcomes told and steps acknowledged
    put away what ended              files follow their records, in batches
    give out                         to every worker that has room
    ping, once per turn              systemd's watchdog, and the lock file for resumed-ctl
"""

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from resumed.assembly import Assembly
from resumed.errors import ConfigError, LockedError, ResumedError
from resumed.report import LoadFailed, Loaded
from resumed.settings import Config

PUT_AWAY_BATCH = 64
PUT_AWAY_SECONDS = 0.02
SETTLE_AFTER_SECONDS = 0.5
STATUS_SECONDS = 1.0
EXTEND_SECONDS = 30.0
PING_SECONDS = 10.0
SPACE_SECONDS = 5.0
FOREVER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Count what a run did, and what it left."""

    done: int
    failed: int
    recovered: int
    waiting: int
    not_ready: tuple[str, ...]
    running: int
