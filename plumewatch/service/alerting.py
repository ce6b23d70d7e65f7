"""Turn events into incidents and delivered notices."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Final, TypeVar

from prometheus_client import Histogram

from alerts.access.directory import Directory
from alerts.access.former_people import remove_former
from alerts.access.own_channels import SCHEME as WEB_PUSH
from alerts.access.own_channels import OwnChannels
from alerts.consumer.memory_alerts import MemoryAlerts
from alerts.engine import AlertEngine
from alerts.errors import NotifyReason
from alerts.incidents.repository import ChangeSignal
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings, check_target
from alerts.notify.channels.web_push import ServerKey, WebPush
from alerts.notify.outbox import add_answer_link
from alerts.notify.pictures import IncidentPictures, NoticePictures
from alerts.notify.pump import OutboxPump
from alerts.notify.trial_notices import send_trials
from alerts.secrets import find_scheme
from detection.events import Detail
from plumewatch.config import settings
from plumewatch.service.data_folder import RETENTION_CLOCK
from plumewatch.service.resources import Task, run_after
from storage.journal import read_number, restore_snapshot
from storage.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from alerts.consumer.memory_alerts import Detection, UnstoredReadings
    from alerts.engine import AlertRecord
    from alerts.incidents.stuck_incidents import StuckItem
    from alerts.notify.channels.apprise_notifier import Notifier
    from alerts.notify.pump import DeliveryOutcome
    from alerts.notify.trial_notices import TrialNotice
    from alerts.policy import StaffMember
    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.resources import Resources

log = logging.getLogger(__name__)
T = TypeVar("T")

_PUSH_SUBJECT: Final = "mailto:plumewatch@localhost.localdomain"
"""Contact for push services if the page has no public address."""
_FORGET_EVERY_S: Final = 60.0
_STUCK_EVERY_S: Final = 30.0
_OPERATIONS_AGAIN_S: Final = 300.0
"""How often ongoing faults are reported again; less than the time after which an incident without
new reports ends."""
_NOTICE_BOUNDS_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_PENDING: Final = 1_000


class Deliveries:
    """Counts outcomes of deliveries, and measures the time from a reading to the first notice."""

    def __init__(self) -> None:
        self.latency = Histogram("notice", "", buckets=_NOTICE_BOUNDS_S, registry=None)
        self.outcomes: Counter[str] = Counter()
        self._decided: dict[str, float] = {}

    def on_alert(self, alert: AlertRecord, received: float) -> None:
        """Record when the reading that triggered an alert was received, Unix seconds."""
        while len(self._decided) >= _PENDING:
            del self._decided[next(iter(self._decided))]
        self._decided.setdefault(alert.incident, received)

    def on_delivery(self, outcome: DeliveryOutcome, now: float) -> None:
        """Count a delivery attempt; the first success ends the measurement for its incident."""
        if outcome.error is None:
            self.outcomes["sent"] += 1
            decided = self._decided.pop(outcome.incident, None)
            if decided is not None:
                self.latency.observe(max(now - decided, 0.0))  # the clock may have been set back
        else:
            self.outcomes["failed" if outcome.final else "retried"] += 1


class Alerting:
    """Incidents and their notices; `stuck` counts stuck items by kind."""

    def __init__(
        self,
        resources: Resources,
        notifier: Notifier | None,
        ingestion: Ingestion,
        unstored: UnstoredReadings,
        records_changed: asyncio.Event,
    ) -> None:
        config, paths, clock = resources.config, resources.paths, resources.clock
        private = config.alerts.allow_private_targets
        self._policy = settings.build_alert_policy(config)
        self.push_key = cache(lambda: ServerKey.load(paths.push_key))
        self.gateways = settings.read_gateways(config)
        self._directory = Directory(paths.state, settings.build_sign_in_rules(config))
        self.channels = OwnChannels(paths.state, self.gateways)
        self.engine = AlertEngine(resources.registry, self._policy)
        public = config.web.public_url
        subject = public if public.startswith("https://") else _PUSH_SUBJECT
        push = WebPush(self.push_key, subject, self.channels, clock=clock)
        direct = {WEB_PUSH: push.send}
        self.notifier = notifier or AppriseNotifier(NotifySettings(allow_private=private), direct)
        self.deliveries = Deliveries()
        self.stuck: Counter[str] = Counter()
        self._resources = resources
        self._wake_outbox = asyncio.Event()
        self.changes = ChangeSignal((self._wake_outbox, records_changed))
        self.pictures: NoticePictures | None = None
        if config.alerts.pictures:
            source = IncidentPictures(
                paths.state, resources.registry, resources.series, config.timezone
            )
            self.pictures = NoticePictures(source)
        self._pump = OutboxPump(
            paths.state,
            self.engine,
            self.notifier,
            self._wake_outbox,
            clock=clock,
            step_of=resources.step_reader(),
            on_outcome=self._on_delivery,
            pictures=self.pictures,
            personalize=add_answer_link,
        )
        self.memory = MemoryAlerts(
            engine=self.engine,
            notifier=self.notifier,
            readings=ingestion.commits,
            unstored=unstored,
            read_journal=resources.journal.read,
            state_failing=lambda: resources.run_until_stored.failing.get("incidents", ""),
            in_detector=resources.in_detector,
            clock=clock,
            on_alerts=resources.observer.on_alerts,
        )
        self._listen = ingestion.unstored.listen
        self._operations = ingestion.operations

    def read_channels(self) -> None:
        """Load the directory's people, and the channels that people set up; this blocks."""
        self.engine.use_policy(self.channels.add_to(self._directory.add_to(self._policy)))

    async def send_test(self, member: StaffMember) -> Sequence[TrialNotice]:
        """Send a test notice to each address of a person."""
        base, policy = self._resources, self.engine.policy
        return await send_trials(self.notifier, [member], policy, base.config.site, base.clock())

    def open(self) -> None:
        """Load people and channels; log problems that would keep notices from being delivered."""
        self.push_key()
        self.read_channels()
        if self.pictures is not None:
            self.pictures.open()
        private = self._resources.config.alerts.allow_private_targets
        targets = [(m, target) for m in self.engine.policy.staff for target in m.targets]
        if not targets:
            log.warning("no staff member has an address: alerts show on the staff page only")
        for member, target in targets:
            if find_scheme(target) == WEB_PUSH:
                continue
            for problem in check_target(target, NotifySettings(allow_private=private)):
                log.warning("notices to %s will fail: %s", member.id, problem)

    def close(self) -> None:
        """Stop the thread that draws pictures."""
        if self.pictures is not None:
            self.pictures.close()

    def create_tasks(self, detection: Detection) -> Iterator[Task]:
        """Yield the tasks of alerting."""
        state, ready = self._resources.state, self._resources.ready
        yield Task("outbox", self._pump.run(), stop=self._pump.stop)
        run_memory = partial(self.memory.run, detection, state, self._pump, self._listen)
        yield Task("memory", run_after(ready, run_memory))
        yield Task("operations", run_after(ready, self._keep_operations))
        yield Task("accounts", run_after(ready, self._keep_accounts))
        yield Task("stuck incident check", run_after(ready, self._check_stuck))

    async def commit(self, work: Callable[..., T], *arguments: object) -> T:
        """Commit a decision; while alerts are decided in memory, retry until the disk is back."""

        def commit_now() -> T:
            self.memory.require_disk()
            return work(*arguments)

        return await self._resources.run_until_stored("incidents", commit_now)

    async def _keep_operations(self) -> None:
        """Keep incidents of ongoing faults open, and close incidents of closed schools."""
        base, operations = self._resources, self._operations

        def store() -> None:
            with transaction(base.state) as tx:
                self.engine.close_former(tx, base.clock())
                self.engine.report_lasting(tx, base.clock())
                operations.store(tx, self.engine)

        while True:
            operations.changed.clear()
            await self.commit(store)
            self.changes.notify()
            with suppress(TimeoutError):
                async with asyncio.timeout(_OPERATIONS_AGAIN_S):
                    await operations.changed.wait()

    async def _check_stuck(self) -> None:
        """Restart stuck incidents; log and count each stuck item once, when it becomes stuck."""
        known: frozenset[StuckItem] = frozenset()

        def check() -> list[StuckItem]:
            with transaction(self._resources.state) as tx:
                return self.engine.check_stuck(tx, self._resources.clock())

        while True:
            await asyncio.sleep(_STUCK_EVERY_S)
            found = await self.commit(check)
            fresh, known = [item for item in found if item not in known], frozenset(found)
            for item in fresh:
                log.error("stuck: %s, %s", item.what, item.subject)
                self.stuck[item.what] += 1
            if fresh:
                self.changes.notify()

    async def _keep_accounts(self) -> None:
        base = self._resources

        def remove() -> None:
            with transaction(base.state) as tx:
                for person in remove_former(tx, self._policy.staff, base.clock()):
                    log.warning(
                        "removed account %s: its ID was removed or given to someone else", person
                    )

        def forget() -> None:
            with transaction(base.state) as tx:
                self.channels.remove_gone(tx)
                slowed = restore_snapshot(tx, RETENTION_CLOCK, read_number) or 0.0
                gone = self._directory.remove_absent(tx, min(slowed, base.clock()))
            for person in gone:
                log.warning("removed %s: no sign-in for too long", person)
            if gone:
                self.read_channels()

        await self.commit(remove)
        while True:
            await self.commit(forget)
            await asyncio.sleep(_FORGET_EVERY_S)

    def _on_delivery(self, outcome: DeliveryOutcome) -> None:
        self.deliveries.on_delivery(outcome, self._resources.clock())
        if outcome.error is NotifyReason.QUOTA:
            self._operations.report(Detail.QUOTA_USED_UP)
        self.changes.notify()
