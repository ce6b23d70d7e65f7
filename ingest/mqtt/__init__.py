"""Receive MQTT messages, and acknowledge them in order once they are durable.

Order of operations
-------------------
The broker delivers messages at QoS 1 into a persistent session (`source`), and they queue. The
intake loop (`intake_loop`) takes a group of them and decides the outcome of each
(`ingest.intake.Intake`). It waits until the readings and dead letters of the group are durable
(`ingest.commit.GroupCommit`). Only then does it send the PUBACKs, in receive order, on the
connection that delivered the messages (`link`).

If the disk fails, the same group is retried until it is stored. Meanwhile the broker's window fills
up, and the broker keeps later messages. A message in a join window, and all messages after it, are
acknowledged once the window is closed and committed. Canaries (`Canary`) are acknowledged in the
same order.

Bounds
------
The broker limits the number of unacknowledged QoS 1 messages (`max_inflight_messages`). For QoS 0
there is no such window: while `intake_loop.MAX_UNACKNOWLEDGED_QOS0` messages are waiting, new ones
are dropped and counted.

Only this package uses the paho client underneath aiomqtt. It does so to acknowledge messages
manually, to set its own callback, and to read many messages at once. aiomqtt 2 would acknowledge
messages before the caller sees them.
"""
