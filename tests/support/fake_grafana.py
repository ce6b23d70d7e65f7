"""A server with the documented endpoints of Grafana's HTTP API."""

import json

__all__ = ["TOKEN", "FakeGrafana"]

TOKEN = "glsa_made_up"


class FakeGrafana:
    """Stores what clients send, and returns it with the fields that Grafana adds."""

    def __init__(self):
        self.folders, self.dashboards, self.sources = {}, {}, {}
        self.writes, self.moved = [], {}
        self.status = 200

    def answer(self, method, path, query, headers, body):
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {}, b'{"message": "Invalid API key"}'
        if self.status != 200:
            return self.status, {"Location": "/elsewhere"}, b'{"message": "not now"}'
        content = json.loads(body) if body else {}
        if method != "GET":
            self.writes.append((method, path))
        status, found = self.route(method, path.removeprefix("/grafana/api"), query, content)
        return status, {"Content-Type": "application/json"}, json.dumps(found).encode()

    def route(self, method, path, query, content):
        kind, _, rest = path.strip("/").partition("/")
        handle = getattr(self, f"{method.lower()}_{kind}", None)
        return handle(rest, query, content) if handle else (404, {"message": "Not found"})

    def get_health(self, *_):
        return 200, {"database": "ok", "version": "11.6.0"}

    def get_folders(self, uid, *_):
        return (200, self.folders[uid]) if uid in self.folders else (404, {"message": "no folder"})

    def post_folders(self, _rest, _query, content):
        self.folders[content["uid"]] = content
        return 200, content

    def get_dashboards(self, rest, *_):
        uid = rest.removeprefix("uid/")
        if uid not in self.dashboards:
            return 404, {"message": "Dashboard not found"}
        meta = {"folderUid": self.moved.get(uid, "plumewatch")}
        return 200, {"dashboard": self.dashboards[uid], "meta": meta}

    def post_dashboards(self, _rest, _query, content):
        body = content["dashboard"]
        assert content["folderUid"] in self.folders
        assert content["overwrite"] is True
        self.moved[body["uid"]] = content["folderUid"]
        version = self.dashboards.get(body["uid"], {"version": 0})["version"] + 1
        self.dashboards[body["uid"]] = {**body, "id": 7, "version": version}
        return 200, {"status": "success", "uid": body["uid"], "version": version}

    def get_datasources(self, *_):
        return 200, [
            {k: v for k, v in s.items() if k != "secureJsonData"} for s in self.sources.values()
        ]

    def post_datasources(self, _rest, _query, content):
        number = 3 + len(self.sources)
        self.sources[number] = {**content, "id": number}
        return 200, {"id": number}

    def put_datasources(self, rest, _query, content):
        self.sources[int(rest)] = {**content, "id": int(rest)}
        return 200, {"id": int(rest)}
