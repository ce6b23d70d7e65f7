"""Power is cut the moment a reading was acknowledged: it is on the disk.

A `kill -9` does not show this, since the kernel keeps what a killed process wrote. So the data
folder is on a disk image, which is copied at that moment: the copy has what was synced.
"""

import contextlib
import signal
import sqlite3
import time

import httpx
import pytest

from storage.journal import Journal
from storage.sqlite import connect
from tests.support.broker import Mosquitto, free_port
from tests.support.image_disk import ImageDisk
from tests.support.service import ServiceProcess, eventually

TOKEN = "token-of-the-sender"
SOURCE = """
[ingest.http]
port = {port}

[[ingest.source]]
name = "diy"
decoder = "native"
token_file = "token"
sensors = ["n2-boys-1"]
"""


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "data").mkdir()
    made = ImageDisk(tmp_path, tmp_path / "data")
    yield made
    made.close()


def test_what_was_acknowledged_is_on_the_disk(disk, tmp_path):
    port = free_port()
    (tmp_path / "token").write_text(TOKEN)
    copies = []
    with Mosquitto() as broker:
        service = ServiceProcess(tmp_path, broker.port)
        with service.config.open("a") as config:
            config.write(SOURCE.format(port=port))
        with service, httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}) as client:
            for seq in range(6):
                answer = client.post(
                    f"http://127.0.0.1:{port}/ingest/native/n2-boys-1",
                    json={"time": time.time(), "seq": seq, "pm25": 4.0},
                    timeout=20,
                )
                assert answer.status_code == 200
                copies.append(disk.cut_power())
            eventually(lambda: service.series().total() == 6, lambda: service.log)
            copies.append(disk.cut_power())
            assert service.end(signal.SIGTERM) == 0
    for acknowledged, copy in enumerate(copies, start=1):
        with disk.after(copy) as data, Journal(data / "journal.db") as journal:
            entries, _ = journal.read(0, 100)
            assert [e.reading.seq for e in entries][:acknowledged] == list(range(6))[:acknowledged]
            assert journal.repairs == 0


def test_the_copy_does_lose_what_nobody_synced(disk):
    """Without the sync the same test would fail."""
    path = disk.mount_point / "unsynced.db"
    with contextlib.closing(connect(path)) as careless:
        careless.execute("CREATE TABLE reading (seq)")
        careless.execute("PRAGMA synchronous=OFF")
        careless.execute("INSERT INTO reading VALUES (1)")
        copy = disk.cut_power()
        assert careless.execute("SELECT count(*) FROM reading").fetchone()[0] == 1
    with (
        disk.after(copy) as data,
        contextlib.closing(connect(data / path.name)) as found,
        contextlib.suppress(sqlite3.OperationalError),  # not even the table is there
    ):
        assert found.execute("SELECT count(*) FROM reading").fetchone()[0] == 0
