"""A real Kafka broker on loopback, for tests; its jars are not part of the project."""

import base64
import os
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from tests.support.broker import free_port

FOLDER = Path(
    os.environ.get("PLUMEWATCH_TEST_KAFKA")
    or Path(__file__).resolve().parents[2].parent / "shared" / "kafka"
)
CONNECTOR = ",".join(str(jar) for jar in sorted((FOLDER / "connector").glob("*.jar")))

needs_kafka = pytest.mark.skipif(
    not CONNECTOR or shutil.which("java") is None, reason="no Kafka and Java here"
)

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
message.max.bytes=10485760
"""


class Kafka:
    """A broker in a folder of its own; `address` is ``HOST:PORT``."""

    def __init__(self, folder):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._settings = folder / "server.properties"
        self._settings.write_text(
            _PROPERTIES.format(port=self.port, controller=free_port(), folder=folder)
        )
        self._log = (folder / "log").open("ab")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", self._settings).wait()
        self._process = None

    def _java(self, *words):
        return subprocess.Popen(
            ["java", "-Xmx400m", "-XX:TieredStopAtLevel=1", "-cp", f"{FOLDER}/broker/*", *words],
            stdout=self._log,
            stderr=self._log,
        )

    def start(self):
        self._process = self._java("kafka.Kafka", self._settings)
        deadline = time.monotonic() + 60.0
        while not self._answers():
            assert time.monotonic() < deadline, "Kafka does not start"
            time.sleep(0.1)

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
        self._log.close()

    def make_topic(self, name, partitions=1):
        from confluent_kafka.admin import AdminClient, NewTopic

        client = AdminClient({"bootstrap.servers": self.address})
        for future in client.create_topics([NewTopic(name, partitions)]).values():
            future.result(30)

    def send(self, topic, records):
        """Send pairs of key and value, bytes or None, in order."""
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.address, "message.max.bytes": 10_000_000})
        for key, value in records:
            producer.produce(topic, value, key)
            producer.poll(0)
        assert producer.flush(60) == 0
