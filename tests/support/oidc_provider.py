"""Run a real OpenID Connect provider on loopback: `oidc-provider-mock`, with optional faults.

The package serves discovery, keys, authorization, codes and tokens. This module can change the
tokens, sign them again, and rotate the keys. The package does not check PKCE, so this module does,
before it passes a request on.
"""

from __future__ import annotations

import base64
import json
import threading
import warnings
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import httpx
import werkzeug.serving
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jws
from joserfc.jwk import RSAKey

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports the deprecated authlib.jose
    import flask
    from oidc_provider_mock._app import app as provider_app
    from oidc_provider_mock._storage import User


DEEP = {"deep": 600, "deeper": 30_000}
"""Claims that a provider replaces by nested lists of this depth."""


class Provider:
    """The provider; `change` sets claims of its next tokens, and None removes a claim."""

    def __init__(self, url):
        self.url = url
        self.change = {}
        self.extra = {}
        self.failing = False
        self.groups = None
        self.asked = []
        self.challenges = {}
        self.wrong_verifiers = 0
        self.storage = None
        self.rotate(kid="first")

    def person(self, subject, **claims):
        """Add a person to the provider."""
        self.storage.store_user(User(sub=subject, claims=claims))

    def rotate(self, kid):
        """Use a new signing key from now on."""
        self.key = RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})

    def signed(self, claims):
        """Sign claims with the provider's key."""
        header = {"alg": "RS256", "kid": self.key.kid, "typ": "JWT"}
        text = json.dumps(claims)
        for what, depth in DEEP.items():
            text = text.replace(f'"{what}"', "[" * depth + "]" * depth)
        return jws.serialize_compact(header, text, self.key)

    async def sign_in(self, address, subject):
        """Sign in at the provider as a browser does; return the redirect's URL."""
        # loading certificates, which plain HTTP doesn't need, would take longer than all else
        async with httpx.AsyncClient(timeout=60, verify=False) as browser:  # noqa: S501
            assert (await browser.get(address)).status_code == 200
            answer = await browser.post(address, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    # optional faults, applied before and after the package handles a request

    def before(self):
        asked = flask.request
        self.asked.append(asked.path)
        if self.failing:
            return "out of order", 503
        if asked.path == "/jwks":
            return flask.jsonify({"keys": [self.key.as_dict(private=False)]})
        if asked.path == "/directory":
            return self.directory()
        if asked.path == "/oauth2/token":
            challenge = self.challenges.get(asked.form["code"])
            if challenge != create_s256_code_challenge(asked.form["code_verifier"]):
                self.wrong_verifiers += 1
                return flask.jsonify(error="invalid_grant"), 400
        return None

    def directory(self):
        """Answer like Google's Cloud Identity API, with one group per page."""
        token = self.storage.get_access_token(flask.request.authorization.token)
        email = token.get_user().claims["email"]
        if self.groups is None or flask.request.args["query"] != f"member_key_id == '{email}'":
            return flask.jsonify(error={"code": 403, "status": "PERMISSION_DENIED"}), 403
        page = int(flask.request.args.get("pageToken", 0))
        answer = {"memberships": [{"groupKey": {"id": key}} for key in self.groups[page:][:1]]}
        more = {"nextPageToken": str(page + 1)} if page + 1 < len(self.groups) else {}
        return flask.jsonify({**answer, **more})

    def after(self, answer):
        asked = flask.request
        if asked.path == "/oauth2/authorize" and "Location" in answer.headers:
            query = parse_qs(urlsplit(answer.headers["Location"]).query)
            assert asked.args["code_challenge_method"] == "S256"
            self.challenges.update(dict.fromkeys(query["code"], asked.args["code_challenge"]))
        if asked.path == "/.well-known/openid-configuration" and self.extra:
            answer.set_data(json.dumps({**answer.get_json(), **self.extra}))
        if asked.path == "/oauth2/token" and answer.status_code == 200:
            body = answer.get_json()
            claims = {**claims_of(body["id_token"]), **self.change}
            claims = {key: value for key, value in claims.items() if value is not None}
            answer.set_data(json.dumps({**body, "id_token": self.signed(claims)}))
        return answer


@contextmanager
def running(host="127.0.0.1"):
    """Run a provider."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = provider_app(require_nonce=True)
    app.debug = False
    app.wsgi_app = app.wsgi_app.app  # without werkzeug's debugger
    server = werkzeug.serving.make_server(host, 0, app, threaded=True)
    provider = Provider(f"http://{host}:{server.port}")

    @app.before_request
    def before():
        provider.storage = flask.g.oidc_provider_mock_storage
        return provider.before()

    app.after_request(provider.after)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        httpx.get(f"{provider.url}/.well-known/openid-configuration", timeout=60)
        yield provider
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()


def unsigned(claims):
    """Return claims as a token whose header requires no signature."""
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def claims_of(token):
    """Return a token's claims without verifying it."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
