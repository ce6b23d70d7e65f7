"""MQTT in: acknowledge what is durable, in the order it came, and nothing else.

Order of operations
-------------------
The broker delivers at QoS 1 into a persistent session (`source`). Messages queue, and the intake
loop (`intake_loop`) takes a group, decides each message's one outcome
(`ingest.intake.Intake`), waits until readings and dead letters of the group are durable
(`ingest.commit.GroupCommit`), and only then sends the PUBACKs, in receive order and on the
connection that delivered them (`link`). A group is never given up: when the disk refuses, the same
group is tried again, the broker's window closes and the broker keeps what follows. Messages of a
join window, and those that came after them, are acknowledged once the window is closed and
committed. A canary (`Canary`) is acknowledged in its place.

Bounds
------
Unacknowledged QoS 1 messages are bounded by the broker (`max_inflight_messages`). QoS 0 messages
have no window: beyond `intake_loop.MAX_UNACKNOWLEDGED_QOS0` waiting, the newest is dropped and
counted.

This package alone touches the client underneath aiomqtt (manual acknowledgment, its own callback,
large reads): aiomqtt 2 acknowledges before the caller has seen the message.
"""
