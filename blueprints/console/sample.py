"""The page of the sample homes: an operator loads them, looks at one as its owner does, and removes them."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from blueprints.console.home import KIND as OWNER
from blueprints.console.operator_sessions import operator_form, operator_page, signed_in
from blueprints.console.sessions import led_to
from blueprints.console.templating import page
from blueprints.current_request import count_request, house
from blueprints.parameters import refuse_unknown
from smarthouse_api.errors import NotFound

blueprint = Blueprint("Sample", __name__, url_prefix="/console", template_folder="templates")
blueprint.before_request(refuse_unknown)

SAMPLE: Final = "sample"
"""What the form of the sign-in names to be led here."""


@blueprint.get("/operator/sample")
def sample() -> ResponseReturnValue:
    """Tell which sample homes are there, or ask for a key."""
    if (session := signed_in()) is None:
        return page("console/operator_sign_in.html", to=SAMPLE)
    told = {"names": house().samples.names(), "has_lasting_names": house().states.contents.asking.has_lasting_names}
    return operator_page("console/operator_sample.html", session, **told)


@blueprint.post("/operator/sample/load")
def load_sample() -> Response:
    """Load the sample homes, and show the data."""
    count_request("rights")
    session, _ = operator_form()
    house().samples.load()
    return led_to("Console.data", session)


@blueprint.post("/operator/sample/remove")
def remove_sample() -> Response:
    """Forget the sample homes."""
    count_request("rights")
    session, _ = operator_form()
    house().samples.remove()
    return led_to(".sample", session)


@blueprint.post("/operator/sample/look")
def look_at_sample() -> Response:
    """Sign in as the owner of a sample home."""
    count_request("rights")
    session, _ = operator_form()
    if not (homes := house().samples.homes()):
        raise NotFound("There is no sample home; load them first")
    key = session.said.who, session.said.proof  # an operator's opens uploads, too
    return led_to("Console.home", house().sessions.begin(OWNER, homes[0].tag, homes[0].key, key))
