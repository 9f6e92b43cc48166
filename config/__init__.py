"""Configure a deployment: the settings of the service, and those of gunicorn."""
