"""A real CKAN for the tests, in one process: its tables, a user with a token, an organization, and its web server.

CKAN's own environment runs it: `venv/bin/python portal.py DATABASE REDIS PORT FOLDER`. It writes the token to FOLDER/token.
Its search engine is a stub that finds nothing; CKAN then reads from its database.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCHEMA = b'<schema name="ckan-2.11" version="1.6"/>'
NOTHING = json.dumps({"responseHeader": {"status": 0}, "response": {"numFound": 0, "start": 0, "docs": []}}).encode()
SETTINGS = """
[app:main]
use = egg:ckan
SECRET_KEY = test
ckan.site_url = http://127.0.0.1:{port}
sqlalchemy.url = {database}
solr_url = http://127.0.0.1:{solr}/solr
ckan.redis.url = {redis}
ckan.storage_path = {folder}/storage
ckan.plugins = dcat
ckan.max_resource_size = 1
ckanext.dcat.rdf.profiles = euro_dcat_ap_3
"""


class Search(BaseHTTPRequestHandler):
    """Answers as a Solr without documents does."""

    def do_GET(self) -> None:
        self._answer(SCHEMA if "/schema" in self.path else NOTHING)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(NOTHING)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(database: str, redis: str, port: str, folder: str) -> None:
    from ckan import model
    from ckan.cli import CKANConfigLoader
    from ckan.config.middleware import make_app
    from ckan.plugins.toolkit import get_action
    from werkzeug.serving import run_simple

    search = ThreadingHTTPServer(("127.0.0.1", 0), Search)
    threading.Thread(target=search.serve_forever, daemon=True).start()
    settings = Path(folder, "ckan.ini")
    told = {"port": port, "database": database, "solr": search.server_port, "redis": redis, "folder": folder}
    settings.write_text(SETTINGS.format(**told))
    app = make_app(CKANConfigLoader(str(settings)).get_config())
    with app._wsgi_app.test_request_context():
        model.repo.upgrade_db()
        site = {"ignore_auth": True, "user": get_action("get_site_user")({"ignore_auth": True}, {})["name"]}
        get_action("user_create")(dict(site), {"name": "editor", "email": "editor@example.org", "password": "a-long-one"})
        users = [{"name": "editor", "capacity": "editor"}]
        get_action("organization_create")(dict(site), {"name": "lab", "users": users})
        token = get_action("api_token_create")(dict(site), {"user": "editor", "name": "tests"})["token"]
    model.Session.remove()
    Path(folder, "token").write_text(token)
    run_simple("127.0.0.1", int(port), app, threaded=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
