"""Stream Data Store, `/homes/{homeId}/smartModules/{moduleId}/streams`."""

from blueprints.streams import data as data
from blueprints.streams import following as following
from blueprints.streams import routes as routes
from blueprints.streams import sessions as sessions
from blueprints.streams.api import blueprint as blueprint
