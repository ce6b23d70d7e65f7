"""Imitate InfluxDB 2.8.0 and 3 Core (3.7.0) with recorded answers on top of a real 1.x.

The classes answer requests to `FakeServer`. Buckets and databases ``NAME/policy`` are retention
policies of the 1.x server, and that server checks lines and statements.
`tests.contract.test_influx_standin` compares the answers with recorded ones. Answers that were not
recorded are marked.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import zlib

import httpx

JSON = {"Content-Type": "application/json"}
TAKEN_BY_3 = 10 * 1024 * 1024
DATABASES_OF_CORE = 5
PLANNED_BY_3 = {
    "CREATE RETENTION": "error in InfluxQL statement: parsing error: Invalid CREATE statement,"
    " expected DATABASE following CREATE at pos 7",
    "DELETE": "query error: error while planning query: This feature is not implemented: DELETE",
}
OPEN_OF_2 = {
    "/ping": None,
    "/api/v2/setup": {"allowed": False},
    "/health": {
        "name": "influxdb",
        "message": "ready for queries and writes",
        "status": "pass",
        "checks": [],
        "version": "v2.8.0",
        "commit": "386686ab54",
    },
}
_VALUE = rb'(?:-?\d+(?:\.\d+)?i?|"[^"\\]*")'
_PLAIN_LINE = re.compile(rb"\w+(?:,\w+=[^,= \\]+)* \w+=%b(?:,\w+=%b)* -?\d+" % (_VALUE, _VALUE))
"""A line that every server can parse."""
_PLACE = re.compile(r'FROM\s+(?:"[^"]+"\.)?"?(\w+)"?\."?\w+"?', re.IGNORECASE)


class RefusedError(Exception):
    """An error response: status, headers and body."""


class Server:
    """Base class: the 1.x server in the background, and tokens."""

    version = ""

    def __init__(self, url):
        self.url = url
        self.tokens = {"secret": None}
        """Permissions by token, as pairs (action, bucket id); None for an administrator's token."""

    def __call__(self, method, path, query, headers, body):
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            status, more, answer = self.answer(method, path, query, headers, body)
        except RefusedError as refused:
            status, more, answer = refused.args
        return status, {**self.own_headers(), **more}, answer

    def own_headers(self):
        return {}

    def influxql(self, statement, database=""):
        """Run a statement on the 1.x; return its rows."""
        asked = {"q": statement, "db": database}
        found = httpx.post(f"{self.url}/query", params=asked, timeout=30).json()["results"][0]
        return [row for series in found.get("series", ()) for row in series.get("values", ())]

    def policies(self, database):
        return {row[0]: row for row in self.influxql(f'SHOW RETENTION POLICIES ON "{database}"')}

    def has(self, name):
        database, _, policy = name.partition("/")
        return (policy or "autogen") in self.policies(database)

    def names(self):
        """Return the names of buckets or databases: a database and its policies."""
        for (database,) in self.influxql("SHOW DATABASES"):
            for policy in self.policies(database):
                yield database if policy == "autogen" else f"{database}/{policy}"

    def keep(self, name, seconds):
        """Create a missing bucket or database, and set its retention."""
        database, _, policy = name.partition("/")
        policy = policy or "autogen"
        self.influxql(f'CREATE DATABASE "{database}"')
        verb = "ALTER" if policy in self.policies(database) else "CREATE"
        duration = f"{seconds}s REPLICATION 1 SHARD DURATION 1h"
        self.influxql(f'{verb} RETENTION POLICY "{policy}" ON "{database}" DURATION {duration}')

    def remove(self, name):
        database, _, policy = name.partition("/")
        self.influxql(f'DROP RETENTION POLICY "{policy or "autogen"}" ON "{database}"')

    def write(self, name, body):
        """Write lines to the 1.x; return status and message."""
        database, _, policy = name.partition("/")
        asked = {"db": database, "precision": "n", "rp": policy or "autogen"}
        found = httpx.post(f"{self.url}/write", params=asked, content=body, timeout=30)
        return found.status_code, found.json()["error"] if found.content else ""

    def secret(self, headers, query):
        """Return the request's token, which Grafana sends as a password."""
        kind, _, text = headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            return base64.b64decode(text).decode().partition(":")[2]
        return text or query.get("p")


class InfluxDb2(Server):
    """InfluxDB 2.8.0, with organizations, mappings and tokens."""

    version = "v2.8.0"

    def __init__(self, url, orgs=("school",), *, virtual=True):
        super().__init__(url)
        self.virtual = virtual  # older versions do not map a bucket to a database by its name alone
        self.orgs = [*orgs]
        self.mappings = {}
        """Bucket by database and policy."""
        self.removed = set()
        self.org_of_bucket, self.org_of_token = {}, {}
        """Organizations by bucket and by token; the default is the first organization."""

    def own_headers(self):
        return {"X-Influxdb-Version": self.version, "X-Influxdb-Build": "OSS"}

    @staticmethod
    def id_of(name):
        return f"{zlib.crc32(name.encode()):016x}"

    def refused(self, status, code, message):
        headers = {"Content-Type": "application/json; charset=utf-8", "X-Platform-Error-Code": code}
        return RefusedError(
            status, headers, json.dumps({"code": code, "message": message}).encode()
        )

    def found(self, answer, status=200):
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return status, headers, json.dumps(answer).encode()

    def answer(self, method, path, query, headers, body):
        if path in OPEN_OF_2:
            return self.open(method, path)
        secret = self.secret(headers, query)
        if secret not in self.tokens:
            wrong_for_queries = secret is not None and path == "/query"
            message = "Unauthorized" if wrong_for_queries else "unauthorized access"
            raise self.refused(401, "unauthorized", message)
        rights = self.tokens[secret]
        part = "/".join(path.split("/")[:4])
        if part == "/api/v2/write":
            return self.of_write(rights, query, body)
        if part == "/query":
            return self.of_query(method, secret, query, headers, body)
        if part == "/api/v2/delete":
            return self.of_delete(rights, query, json.loads(body))
        kind = path.split("/")[3]
        sent = json.loads(body) if body.strip() else {}
        if rights is not None and method != "GET":  # only the status was recorded, not the message
            raise self.refused(401, "unauthorized", f"write:{kind} is unauthorized")
        if kind not in ("orgs", "buckets", "dbrps", "authorizations"):
            raise self.refused(404, "not found", "path not found")
        return getattr(self, f"of_{kind}")(method, path, query, rights, sent)

    def open(self, method, path):
        """Answer requests that need no token."""
        if path == "/ping":
            return 204, {}, b""
        if path == "/api/v2/setup" and method == "POST":
            raise self.refused(422, "conflict", "onboarding has already been completed")
        return self.found(OPEN_OF_2[path])

    def of_orgs(self, method, _path, query, rights, sent):
        if method == "POST":  # not recorded
            self.orgs.append(sent["name"])
            return self.found(self.org(sent["name"]), 201)
        if rights is not None:
            return self.found({"links": {"self": "/api/v2/orgs"}, "orgs": []})
        name = query.get("org")
        if name is not None and name not in self.orgs:
            raise self.refused(404, "not found", f'organization name "{name}" not found')
        orgs = [self.org(one) for one in self.orgs if name in (None, one)]
        return self.found({"links": {"self": "/api/v2/orgs"}, "orgs": orgs})

    def named(self, org_id):
        return next((org for org in self.orgs if self.id_of(org) == org_id), self.orgs[0])

    def org(self, name):
        times = dict.fromkeys(("createdAt", "updatedAt"), "2026-11-27T08:13:39.914915296Z")
        return {"links": {}, "id": self.id_of(name), "name": name, "description": "", **times}

    def bucket(self, name):
        database, _, policy = name.partition("/")
        duration = re.findall(r"\d+", self.policies(database)[policy or "autogen"][1])
        seconds = sum(int(part) * 60**k for k, part in enumerate(reversed(duration)))
        rule = {"type": "expire", "everySeconds": seconds}
        times = dict.fromkeys(("createdAt", "updatedAt"), "2026-11-27T08:39:42.639932774Z")
        return {
            "id": self.id_of(name),
            "orgID": self.id_of(self.orgs[0]),
            "type": "user",
            "name": name,
            "retentionRules": [rule | {"shardGroupDurationSeconds": 86400}] if seconds else [],
            **times,
            "links": {},
            "labels": [],
        }

    def of_buckets(self, method, path, query, rights, sent):
        if method == "GET":
            name = query["name"]
            links = {"self": "/api/v2/buckets"}
            if rights is not None and ("read", self.id_of(name)) not in rights:
                return self.found({"links": links, "buckets": []})
            if not self.has(name):
                raise self.refused(404, "not found", f'bucket "{name}" not found')
            return self.found({"links": links, "buckets": [self.bucket(name)]})
        name = sent.get("name") or next(
            name for name in self.names() if self.id_of(name) == path.rpartition("/")[2]
        )
        if method == "DELETE":
            self.removed.add(name)
            self.remove(name)
            return 204, {}, b""
        if method == "POST" and self.has(name):
            raise self.refused(422, "conflict", f"bucket with name {name} already exists")
        seconds = sent["retentionRules"][0]["everySeconds"]
        if seconds < 3600:
            message = "retention policy duration must be at least 1h0m0s"
            raise self.refused(500, "internal error", message)
        self.keep(name, seconds)
        if method == "POST":
            self.org_of_bucket[name] = self.named(sent["orgID"])
        self.removed.discard(name)
        return self.found(self.bucket(name), 201 if method == "POST" else 200)

    def of_dbrps(self, method, _path, query, _rights, sent):
        if method == "POST":
            key = sent["database"], sent["retention_policy"]
            if key in self.mappings:
                message = "another DBRP mapping with same orgID, db, and rp exists"
                raise self.refused(422, "conflict", message)
            self.mappings[key] = sent["bucketID"]
            return self.found(self.mapping(*key, sent["bucketID"], virtual=False), 201)
        database = query["db"]
        virtual = {
            (database, policy): self.id_of(f"{database}/{policy}".removesuffix("/autogen"))
            for policy in self.policies(database)
            if self.virtual
        }
        content = [
            self.mapping(*key, bucket, virtual=key not in self.mappings)
            for key, bucket in {**virtual, **self.mappings}.items()
            if key[0] == database and query.get("rp") in (None, key[1])
        ]
        return self.found({"content": content})

    def mapping(self, database, policy, bucket, *, virtual):
        return {
            "id": bucket if virtual else self.id_of(f"{database}.{policy}"),
            "database": database,
            "retention_policy": policy,
            "default": policy == "autogen",
            "virtual": virtual,
            "orgID": self.id_of(self.orgs[0]),
            "bucketID": bucket,
        }

    def of_authorizations(self, method, path, _query, _rights, sent):
        if method == "DELETE":  # not recorded
            self.tokens.pop(path.rpartition("/")[2])
            return 204, {}, b""
        token = f"token{len(self.tokens)}"
        self.tokens[token] = {(p["action"], p["resource"]["id"]) for p in sent["permissions"]}
        self.org_of_token[token] = self.named(sent["orgID"])
        times = dict.fromkeys(("createdAt", "updatedAt"), "2026-11-27T08:39:43.415351066Z")
        more = {"id": token, "token": token, "status": "active", "org": self.orgs[0]}
        return self.found(
            {**sent, **more, "userID": "1", "user": "admin", "links": {}, **times}, 201
        )

    def of_write(self, rights, query, body):
        if not query.get("org"):
            raise self.refused(400, "invalid", "Please provide either orgID or org")
        if query["org"] not in self.orgs:
            message = f'organization name "{query["org"]}" not found'
            raise self.refused(404, "not found", message)
        name = query["bucket"]
        if not self.has(name):
            raise self.refused(404, "not found", f'bucket "{name}" not found')
        if rights is not None and ("write", self.id_of(name)) not in rights:
            raise self.refused(403, "forbidden", "insufficient permissions for write")
        if message := self.unparsable(body):
            raise self.refused(400, "invalid", message)
        status, message = self.write(name, body) if body.strip() else (204, "")
        if status == 204:
            return 204, {}, b""
        if "beyond retention policy" in message:
            point = "point x at 2025-10-23T08:39:41Z dropped because it violates a Retention Policy"
            bound = f"{point} Lower Bound at 2026-09-28T08:39:44.137714441Z"
            count = message.rpartition("=")[2]
            message = (
                f"partial write: dropped {count} points outside retention policy of duration"
                f" 1440h0m0s - oldest {bound}, newest {bound} dropped={count} for database:"
                f" {self.id_of(name)} for retention policy: autogen"
            )
        message = f"failure writing points to database: {message}"
        raise self.refused(422, "unprocessable entity", message)

    def unparsable(self, body):
        """Return why a line cannot be parsed. 2.x then stores nothing; 1.x stores the rest."""
        if all(_PLAIN_LINE.fullmatch(line) for line in body.split(b"\n") if line.strip()):
            return ""
        self.influxql('CREATE DATABASE "judged"')
        _, message = self.write("judged", body)
        self.influxql('DROP DATABASE "judged"')
        if "unable to parse" not in message:
            return ""
        return message.removeprefix("partial write: ").removesuffix(" dropped=0")

    def of_delete(self, rights, query, sent):
        if rights is not None and ("write", self.id_of(query["bucket"])) not in rights:
            raise self.refused(403, "forbidden", "insufficient permissions to delete")
        measurement = re.fullmatch(r'_measurement="(\w+)"', sent["predicate"])[1]
        self.influxql(f'DROP SERIES FROM "{measurement}"', query["bucket"].partition("/")[0])
        return 204, {}, b""

    def of_query(self, method, secret, query, headers, body):
        form = dict(httpx.QueryParams(body.decode())) if method == "POST" else {}
        asked = {**query, **form}
        statement, database = asked["q"], asked.get("db", "")
        first = self.orgs[0]
        own = self.org_of_token.get(secret, first), self.org_of_bucket.get(database, first)
        error = self.forbidden(self.tokens[secret], statement, database)
        if own[0] != own[1]:  # 2.x uses the token's organization
            error = f"database not found: {database}"
        if error is not None:
            result = {"statement_id": 0} | ({"error": error} if error else {})
            return 200, JSON, json.dumps({"results": [result]}).encode()
        kept = {k: v for k, v in asked.items() if k not in ("u", "p")}
        accept = {"Accept": headers["Accept"]} if "Accept" in headers else {}
        found = httpx.request(method, f"{self.url}/query", params=kept, headers=accept, timeout=30)
        if found.status_code == 400:
            message = found.json()["error"].replace("error parsing query", "failed to parse query")
            raise self.refused(400, "invalid", message)
        return found.status_code, {"Content-Type": found.headers["Content-Type"]}, found.content

    def forbidden(self, rights, statement, database):
        """Return the error for a response with status 200, "" for an empty result, or None."""
        words = statement.upper()
        made = re.match("CREATE DATABASE|CREATE RETENTION POLICY|SELECT(?=.* INTO )", words)
        if made:
            return f"not implemented: {made[0].replace('SELECT', 'SELECT INTO')}"
        place = _PLACE.search(statement)
        policy = place[1] if place else ""
        if f"{database}/{policy}".rstrip("/") in self.removed:
            return ""
        right = "write" if words.startswith(("DELETE", "DROP")) else "read"
        if rights is None or (right, self.id_of(f"{database}/{policy}".rstrip("/"))) in rights:
            return None
        if right == "write":
            return "insufficient permissions"
        missing = f"retention policy not found: {policy}"
        return missing if policy else f"database not found: {database}"


class InfluxDb3(Server):
    """InfluxDB 3 Core 3.7.0."""

    version = "3.7.0"

    def __init__(self, url, *, names=()):
        super().__init__(url)
        self.mine = [*names]

    def answer(self, method, path, query, headers, body):
        if self.secret(headers, query) not in self.tokens:
            raise RefusedError(401, {}, b"")
        if path == "/ping":
            return 200, JSON, json.dumps({"version": self.version}).encode()
        if path == "/api/v3/configure/database":
            return self.of_databases(method, query, headers, body)
        if path == "/api/v3/configure/table" and method == "DELETE":  # not recorded
            self.influxql(f'DROP SERIES FROM "{query["table"]}"', query["db"].partition("/")[0])
            return 200, {}, b""
        if path == "/api/v3/write_lp":
            return self.of_write(query, body)
        if path == "/query":
            form = dict(httpx.QueryParams(body.decode())) if method == "POST" else {}
            return self.of_query({**query, **form})
        raise RefusedError(404, {}, b"")

    def of_databases(self, method, query, headers, body):
        if method == "GET":
            names = [{"iox::database": name} for name in ("_internal", *self.names())]
            return 200, JSON, json.dumps(names).encode()
        if method == "DELETE":
            self.remove(query["db"])
            self.mine = [name for name in self.mine if name != query["db"]]
            return 200, {}, b""
        if headers.get("Content-Type") != "application/json":
            raise RefusedError(415, {}, b"")
        sent = json.loads(body)
        name, days = sent["db"], int(sent.get("retention_period", "0d").removesuffix("d"))
        if not re.fullmatch(r"[\w/-]+", name):
            message = (
                "invalid character in database or rp name: must be ASCII, containing only letters,"
                " numbers, underscores, or hyphens"
            )
            raise RefusedError(400, {}, json.dumps({"error": message}).encode())
        if method == "POST" and self.has(name):
            raise RefusedError(409, {}, b"attempted to create a resource that already exists")
        if not self.has(name) and len({*self.mine, name}) > DATABASES_OF_CORE:
            # only the status was recorded, not the message
            raise RefusedError(422, {}, b"limit of databases reached")
        self.mine.append(name)
        self.keep(name, days * 86_400)
        return 200, {}, b""

    def of_write(self, query, body):
        if len(body) > TAKEN_BY_3:
            message = f"max request size ({TAKEN_BY_3} bytes) exceeded"
            said = {"code": "request too large", "message": message}
            raise RefusedError(413, {}, json.dumps(said).encode())
        if not body.strip():
            message = "write buffer error: incoming write was empty"
            raise RefusedError(
                400, {}, json.dumps({"code": "invalid", "message": message}).encode()
            )
        if not self.has(query["db"]):
            self.keep(query["db"], 0)
        status, _ = self.write(query["db"], body)
        if status == 204:
            return 204, {}, b""
        wrong = []
        for number, line in enumerate(body.splitlines(), start=1):
            status, message = self.write(query["db"], line)
            if status != 204 and "beyond retention" not in message:  # silent about old points
                said = "No fields were provided" if "invalid field format" in message else message
                wrong.append(
                    {
                        "original_line": line.decode(),
                        "line_number": number,
                        "error_message": said,
                    }
                )
        if not wrong:
            return 204, {}, b""
        said = {"error": "partial write of line protocol occurred", "data": wrong}
        raise RefusedError(400, {}, json.dumps(said).encode())

    def of_query(self, query):
        statement, name = query["q"], query.get("db", "")
        if not name:
            said = "must specify a 'db' parameter, or provide the database in the InfluxQL query"
            raise RefusedError(500, {}, said.encode())
        if ";" in statement:
            raise RefusedError(500, {}, b"must provide only one InfluxQl statement per query")
        for words, said in PLANNED_BY_3.items():
            if statement.startswith(words):
                raise RefusedError(500, {}, said.encode())
        if not re.match("(SELECT|SHOW) (?!.* INTO )", statement):
            said = "parsing error: invalid InfluxQL statement at pos 0. Parsing Error: Nom"
            said = f'error in InfluxQL statement: {said}("{statement}", Tag)'
            raise RefusedError(500, {}, said.encode())
        if re.search(r'FROM\s+"[^"]+"\."[^"]+"\."', statement):
            raise RefusedError(500, {}, b"a name with a policy beside a db parameter")
        if _PLACE.search(statement):
            return 200, JSON, b'{"results":[{"statement_id":0}]}'
        database, _, policy = name.partition("/")
        asked = {**query, "db": database} | ({"rp": policy} if policy else {})
        found = httpx.get(f"{self.url}/query", params=asked, timeout=30)
        with contextlib.suppress(KeyError):
            if "database not found" in found.json()["results"][0]["error"]:
                return 200, JSON, b'{"results":[{"statement_id":0}]}'
        return found.status_code, JSON, found.content
