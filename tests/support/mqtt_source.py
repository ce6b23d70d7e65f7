"""Run an MQTT source on a real broker with its intake and commits, and record the results."""

import asyncio
import json
import time

from ingest.commit import GroupCommit
from ingest.intake import Intake
from ingest.mqtt.connection import BrokerSettings
from ingest.mqtt.source import MqttSource
from storage.errors import StorageUnavailableError
from tests.support.service import Publisher
from tests.support.waiting import until

TOPIC = "plumewatch/v1/b2/reading"


def send(publisher, numbers, topic=TOPIC):
    for k in numbers:
        content = {"time": time.time(), "seq": k, "pm25": 4.0}
        publisher.send(topic, json.dumps(content).encode())


def publish(port, numbers):
    with Publisher(port) as publisher:
        send(publisher, numbers)
        publisher.settle()


class RunningSource:
    """A connected source with its commits; writes fail if `full`, and wait until `held` is set."""

    def __init__(self, broker, topics=(TOPIC,), *, tls=None, clock=time.time, **more):
        self.full, self.refused = False, 0
        self.readings, self.found = [], []
        self.held = asyncio.Event()
        self.held.set()
        self.commits = GroupCommit(self._commit, first_retry_s=0.01)
        self.intake = Intake()
        settings = BrokerSettings(port=broker.port, client_id="under-test", tls=tls)
        commit = self.commits.commit
        self.source = MqttSource(
            settings, topics, self.intake, commit, clock, on_fault=self.found.append, **more
        )
        self.state, self.canary = self.source.state, self.source.canary

    @property
    def kept(self):
        return [reading.seq for reading in self.readings]

    async def _commit(self, readings, _letters):
        await self.held.wait()
        if self.full:
            self.refused += 1
            raise StorageUnavailableError("database or disk is full")
        self.readings += readings

    async def __aenter__(self):
        async def run():
            async with asyncio.TaskGroup() as group:
                group.create_task(self.commits.run())
                group.create_task(self.source.run())

        self._task = asyncio.create_task(run())
        await until(lambda: self.state.connected)
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.wait((self._task,), timeout=60)
        assert self._task.cancelled()
