"""The commented configuration that `plumewatch init` writes."""

STARTER = """\
# Plumewatch configuration. Check it with: plumewatch check --config THIS_FILE
# Paths are relative to this file. Secrets live in files or environment variables, never here.

config_version = 1                     # of the form of this file; an upgrade says what to change
site = "Northfield High School"
timezone = "America/New_York"          # IANA name; decides local times and days
data_dir = "plumewatch-data"           # journal, incidents and time series are kept here

[broker]                               # the MQTT broker your sensors publish to
host = "127.0.0.1"
port = 1883
client_id = "plumewatch"               # names the persistent session; one service per id
# username = "plumewatch"
# password_file = "secrets/broker-password"      # or password_env = "BROKER_PASSWORD"
# tls = true
# ca_file = "secrets/broker-ca.pem"
# config_file = "/etc/mosquitto/mosquitto.conf"  # `plumewatch check` looks for what loses readings
# max_queued_messages = 1000000        # as in the broker's own configuration, to warn in time
# canary = false                       # for brokers that disconnect who publishes without a right

[web]                                  # the staff page
host = "127.0.0.1"                     # loopback; other machines reach it only if you change this
port = 8420
# public_url = "https://plumewatch.example.org"  # what links in notices start with
# grafana_url = "https://grafana.example.org"    # links from rooms and incidents to their dashboard
# To acknowledge and give feedback, staff sign in. Set passwords with: plumewatch staff password ID

[ingest]
# Which formats to subscribe to; empty means all that Plumewatch knows. `plumewatch decode --help`
# shows what a message means.
decoders = []                          # e.g. ["native", "tasmota", "airgradient"]
# topics = ["site/#"]                  # more to listen to; what nothing reads is on the staff page

# A device that no decoder knows is described by a [[mapping]] (docs/mappings.md). For a proposal:
#   plumewatch mapping suggest --topic site/n2/as-17/state sample.json
#
# [[route]]                            # a decoder for topics that you chose yourself
# topic = "lora/+/up"
# decoder = "milesight"

# Sensors without MQTT post here (docs/http.md). Off unless there is at least one [[ingest.source]].
# [ingest.http]
# host = "127.0.0.1"                   # loopback; sensors reach it only if you change this
# port = 8421
# cert_file = "secrets/http.crt"       # https; or put a reverse proxy in front
# key_file = "secrets/http.key"
#
# [[ingest.source]]                    # one block a sender, each with a token of its own
# name = "halo"
# decoder = "halo"                     # it posts to /ingest/halo
# token_file = "secrets/halo-token"    # or token_env; make one with: openssl rand -hex 24
# sensors = []                         # ids it may speak for; empty: sensors with this decoder

[journal]                              # what was accepted, until all have read it and for a while
keep_days = 7
max_mb = 8000                          # beyond it the oldest go, even those that a database which
                                       # is down has not taken yet (counted and shown)

# [timeseries]                         # an InfluxDB for the readings (docs/storage.md); without it
                                       # they are kept in data_dir
# url = "http://127.0.0.1:8086"        # 1.x, 2.x or 3; it is asked which
# database = "plumewatch"              # the bucket of 2.x
# org = "school"                       # 2.x
# username = "plumewatch"              # 1.x; the password is then in token_file
# token_file = "secrets/influx-token"
# raw_days = 30                        # then averages of a minute and of 15 minutes
# minute_days = 730
# quarter_hour_days = 1826

[detection]
# Every sensor sets its own level so that no more false alarms a week are to be expected. With ten
# restrooms, 1 means a walk for nothing twice a school day. Less costs sensitivity: see
# `plumewatch levels`. A [[sensor]] may have its own: false_alarms_per_week = 0.5
false_alarms_per_sensor_week = 1.0

[alerts]
cooldown_s = 300                       # after a delivered notice, per room and kind
# What these lead to, moment by moment: plumewatch timeline
# escalate_after_s = 90                # without an answer the next people are told
# acknowledged_for_s = 600             # then whoever took it is reminded
# notices_per_hour = 12                # a person; the rest is one notice, except the severe
# storm_rooms = 3                      # of a floor one by one, further ones together
offline_after = 3                      # reporting intervals missed until a sensor counts as
                                       # offline, and never less than a minute
pictures = true                        # a small chart of the readings goes with each alert
# allow_private_targets = true         # let notices go to addresses in your own network

# Other systems in the building: room states over MQTT with Home Assistant's discovery, signed
# webhooks, CAP messages (docs/building.md).
# [outbound.mqtt]
# enabled = true
#
# [outbound.grafana]                   # incidents as annotations; docs/dashboards.md
# token_file = "secrets/grafana-token"
#
# [[outbound.webhook]]
# name = "vms"
# url_file = "secrets/vms-url"
# secret_file = "secrets/vms-secret"   # echo whsec_$(openssl rand -base64 32)

# An address outside that misses this service when it is gone, such as https://hc-ping.com/UUID. It
# is pinged only while all is well (docs/operating.md).
# [watchdog]
# ping_url_file = "secrets/ping-url"   # or ping_url_env
# ping_every_s = 60
#
# /metrics of the staff page is for this machine; others need a token, sent as a bearer token.
# [metrics]
# token_file = "secrets/metrics-token" # or token_env

# One block a room. Say it the way a person would: it is the first line of every alert.
[[room]]
id = "N2-boys"
name = "Boys' restroom"
building = "North"
floor = "2nd floor"

[[room]]
id = "N2-girls"
name = "Girls' restroom"
building = "North"
floor = "2nd floor"

# One block a sensor. `id` is the name it publishes under (native topic, Tasmota topic, serial),
# or give that as an alias: aliases = ["24E124707C123456"]. Topics that do not
# tell the format need a decoder = "milesight", or "mapping:NAME".
[[sensor]]
id = "n2-boys-1"
room = "N2-boys"
model = "sen55"
interval_s = 5

[[sensor]]
id = "n2-girls-1"
room = "N2-girls"
model = "pms5003"
interval_s = 5

# One block a member of staff. Roles on the staff page: "staff", "facilities", "analyst" (reads and
# answers nothing), "admin" (may do everything); see docs/staff-page.md. Each address is an Apprise
# URL (ntfys://, pover://, mailtos://, tgram://, workflows://, ...) kept in a file or an environment
# variable.
[[staff]]
id = "ap-north"
name = "Assistant principal, North"
role = "staff"
notify = []                            # e.g. [{ url_file = "secrets/ap-north-ntfy" }]; the first
                                       # is tried first, the next if it does not take a notice
# quiet_hours = [{ start = "17:00", end = "07:00" }]       # what is not critical waits, or with
                                       # then = "divert" others are told instead

[[staff]]
id = "monitor-1"
name = "Hall monitor, 1st floor"
notify = []

[[staff]]
id = "monitor-2"
name = "Hall monitor, 2nd floor"
notify = []

[[staff]]
id = "facilities"
name = "Facilities"
role = "facilities"
notify = []

# Who hears of what (docs/routing.md). Without this part all of role "staff" hear of vaping and
# smoke, all of role "facilities" of the rest. Ask it:
#   plumewatch routes test --at 2026-09-07T10:05 room=N2-boys kind=vape
#   plumewatch routes gaps
[routing]
receiver = "hall"                      # hears of what no route below takes

[[routing.routes]]                     # the first that fits wins, unless it says continue = true
matchers = ['kind=~"tamper|sensor_fault|offline|integrity|ambient"']
receiver = "facilities"                # a role is a receiver: everybody of it, always

[[receiver]]                           # who of it is on duty is said by its [[shift]]s
id = "hall"
leads = { North = ["ap-north"] }       # told of this building when nobody on duty answers
catch_all = ["ap-north"]               # told last, so that nothing is swallowed

[[zone]]                               # floors, and what is one stair or passage away
id = "north-1"
building = "North"
floor = "1st floor"
next = ["north-2"]

[[zone]]
id = "north-2"
building = "North"
floor = "2nd floor"

[[bells]]
id = "regular"
days = ["mon", "tue", "wed", "thu", "fri"]
periods = [
  { name = "1", start = "08:00", end = "09:30" },
  { name = "2", start = "09:30", end = "11:00" },
  { name = "lunch", start = "11:00", end = "11:45" },
  { name = "3", start = "11:45", end = "13:15" },
  { name = "4", start = "13:15", end = "14:45" },
]

[[holiday]]
name = "Thanksgiving"
first = 2026-11-26
last = 2026-11-27

[[term]]                               # for reports: --term "Fall 2026"
name = "Fall 2026"
first = 2026-08-31
last = 2026-12-18

[[shift]]
id = "hall-1"
receiver = "hall"
people = ["monitor-1"]
zones = ["north-1"]
periods = ["*"]                        # or start = "07:30", end = "16:00"; or calendar_file

[[shift]]
id = "hall-2"
receiver = "hall"
people = ["monitor-2"]
zones = ["north-2"]
periods = ["1", "2", "3", "4"]

# [[override]]                         # a substitution: both replace, add or remove alone
# shift = "hall-2"
# start = 2026-09-08T08:00:00
# end = 2026-09-08T14:45:00
# remove = "monitor-2"
# add = "ap-north"
"""
"""Text of the starter configuration; valid as it stands."""
