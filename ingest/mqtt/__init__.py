"""Receive MQTT messages, and acknowledge them in order once they are durable.

Order of operations
-------------------
The broker delivers at QoS 1 into a persistent session (`source`). Messages queue, and the intake
loop (`intake_loop`) takes a group, decides each message's one outcome
(`ingest.intake.Intake`), waits until readings and dead letters of the group are durable
(`ingest.commit.GroupCommit`), and only then sends the PUBACKs, in receive order and on the
connection that delivered them (`link`). A group is never given up: if the disk refuses, the same
group is retried, the broker's window closes, and the broker keeps later messages. Messages in a
join window, and all later ones, are acknowledged once the window is closed and committed. A canary
(`Canary`) is acknowledged in its turn.

Bounds
------
Unacknowledged QoS 1 messages are bounded by the broker (`max_inflight_messages`). QoS 0 messages
have no window: if `intake_loop.MAX_UNACKNOWLEDGED_QOS0` are waiting, new ones are dropped and
counted.

This package alone touches the client underneath aiomqtt (manual acknowledgment, its own callback,
large reads), because aiomqtt 2 acknowledges messages before the caller sees them.
"""
