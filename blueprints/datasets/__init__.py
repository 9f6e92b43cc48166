"""Datasets, `/v2`."""

# In the order of the API's document.
# isort: off
from blueprints.datasets import dead_letters as dead_letters
from blueprints.datasets import data as data
from blueprints.datasets import management as management
from blueprints.datasets.api import blueprint as blueprint
