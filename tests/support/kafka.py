"""Run a real Kafka broker on loopback for tests; its jars are not part of the project."""

import base64
import os
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from tests.support.broker import free_port
from tests.support.certificates import certificate

FOLDER = Path(
    os.environ.get("PLUMEWATCH_TEST_KAFKA")
    or Path(__file__).resolve().parents[2].parent / "shared" / "kafka"
)
CONNECTOR = ",".join(str(jar) for jar in sorted((FOLDER / "connector").glob("*.jar")))
# for such short processes, optimizing compilation and class verification are half of the work
SHORT = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-BytecodeVerificationRemote",
)

needs_kafka = pytest.mark.skipif(not CONNECTOR, reason="no jars of Kafka next to this checkout")

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SSL://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SSL://127.0.0.1:{tls}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT
ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={server}
ssl.truststore.type=PEM
ssl.truststore.location={trusted}
log.dirs={folder}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
message.max.bytes=10485760
"""


class Kafka:
    """A broker in its own folder; `address` is ``HOST:PORT``.

    `tls_address` is the same broker over TLS; `tls_options` are the Kafka client options, including
    the required client certificate.
    """

    def __init__(self, folder):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._settings = folder / "server.properties"
        tls = free_port()
        self.tls_address = f"127.0.0.1:{tls}"
        server, client = self._identity(folder / "server"), self._identity(folder / "client")
        self.tls_options = {
            "security.protocol": "SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": client / "both.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": server / "http.crt",
        }
        self._settings.write_text(
            _PROPERTIES.format(
                port=self.port,
                tls=tls,
                controller=free_port(),
                folder=folder,
                server=server / "both.pem",
                trusted=client / "http.crt",
            )
        )
        self._log = (folder / "log").open("ab")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        words = ("format", f"--cluster-id={cluster}", "-c", self._settings)  # may begin with -
        assert self._java("kafka.tools.StorageTool", *words).wait() == 0
        self._process = None

    @staticmethod
    def _identity(folder):
        folder.mkdir()
        cert_file, key_file = certificate(folder)
        (folder / "both.pem").write_text(key_file.read_text() + cert_file.read_text())
        return folder

    def _java(self, *words):
        return subprocess.Popen(
            ["java", "-Xmx400m", *SHORT, "-cp", f"{FOLDER}/broker/*", *words],
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def start(self):
        self._process = self._java("kafka.Kafka", self._settings)
        deadline = time.monotonic() + 240.0
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError("Kafka does not start")
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
        topic = NewTopic(name, partitions, config={"retention.ms": "-1"})  # keep old records
        for future in client.create_topics([topic]).values():
            future.result(30)

    def delete_records(self, topic, before):
        """Delete the records of a topic before an offset, as retention does."""
        from confluent_kafka import TopicPartition
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": self.address})
        for future in client.delete_records([TopicPartition(topic, 0, before)]).values():
            future.result(30)

    def send(self, topic, records):
        """Send keys and values (bytes or None) in order, each with its receive time if given."""
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.address, "message.max.bytes": 10_000_000})
        for key, value, *received in records:
            when = [round(1000 * moment) for moment in received]
            producer.produce(topic, value, key, **({"timestamp": when[0]} if when else {}))
            producer.poll(0)
        assert producer.flush(60) == 0
