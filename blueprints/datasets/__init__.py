"""Datasets, `/v2`."""

from blueprints.datasets import aside as aside
from blueprints.datasets import data as data
from blueprints.datasets import management as management
from blueprints.datasets.entry import blueprint as blueprint
