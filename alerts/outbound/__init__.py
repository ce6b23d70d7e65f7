"""What goes out to the building: room states over MQTT, signed webhooks, CAP messages.

For fans, signs, video systems and mass notification; never for people, and never about them. Only
incidents that staff are told of go out: what is silenced or held back stays inside.
"""
