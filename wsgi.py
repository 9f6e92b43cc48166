"""The application that gunicorn serves: `gunicorn -c config/gunicorn.py wsgi:app`."""

from backends.registry import faults
from config.settings import Settings
from smarthouse_api.app import create_app

app = create_app(Settings.from_env(None, faults))
