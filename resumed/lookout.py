"""Keep listening at the inbox, whatever becomes of the folder or of the listener.

Events are hints: without them the scans do, a little later. So trouble here is told once, and
mended when the next rescan finds that it can be.
"""

from collections.abc import Callable

from resumed.engine import Engine
from resumed.hints import Hints
from resumed.rules import Rules
from resumed.settings import Config
from resumed.watch import Watch


class Lookout:
    """The watch over one inbox and over the folder of requests."""

    def __init__(
        self, config: Config, rules: Rules, *, tell: Callable[..., None], wake: Callable[[], None]
    ) -> None:
        """*wake* is called from another thread when there is something to `take`."""
        self._tell = tell
        self._wake = wake
        self._inbox = str(config.paths.inbox)
        self._seconds = config.rescan_seconds
        self._on = False
        self._fault: str | None = None
        self._watch = self._made(config, rules)

    def _made(self, config: Config, rules: Rules) -> Watch:
        return Watch(
            config.paths.inbox,
            config.paths.requests,
            recursive=config.recursive,
            temporary=rules.temporary,
            wake=self._wake,
        )

    def use(self, config: Config, rules: Rules) -> None:
        """Listen as a new configuration says; the caller scans after this."""
        self._seconds = config.rescan_seconds
        self._watch.stop()
        self._watch = self._made(config, rules)
        if self._on:
            self.listen()

    def listen(self) -> None:
        """Begin, or begin anew; the caller scans after this."""
        self._on = True
        fault = self._watch.start()
        if fault == self._fault:
            return
        self._fault = fault
        if fault is None:
            self._tell("watch_restored", inbox=self._inbox)
        else:
            self._complain(fault)

    @property
    def watching(self) -> bool:
        """Tell whether the kernel tells of what arrives; else only scans find it."""
        return self._on and self._fault is None

    def take(self) -> Hints:
        """Return what was heard, and tell what went wrong."""
        hints = self._watch.take()
        if hints.trouble:
            self._complain(hints.trouble)
        if hints.overflow:
            self._tell("overflow")
        return hints

    def mend(self, engine: Engine) -> None:
        """Notice that the inbox's path means another folder now, or that nobody listens."""
        found = engine.spool.inbox.renew()
        if found == "replaced":
            engine.intake.forget()
        if self._on and (found == "replaced" or not self._watch.healthy()):
            self.listen()

    def close(self) -> None:
        """Stop listening."""
        self._watch.stop()

    def _complain(self, why: str) -> None:
        self._tell("watch_lost", inbox=self._inbox, why=why, seconds=self._seconds)
