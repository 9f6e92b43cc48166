"""Write the integration's closed lists from the service's tables: python integrations/home_assistant/make_vocabulary.py

It runs in the service's environment, from the repository's root. The integration itself imports nothing of the service.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
TARGET = Path(__file__).parent / "custom_components" / "smarthouse" / "vocabulary.json"


def vocabulary() -> dict[str, Any]:
    """Return what may leave a home: the service's lists of what it may publish."""
    sys.path.insert(0, str(ROOT))
    from smarthouse_api.states.records import rules
    from smarthouse_api.states.vocabulary import facts

    judged = facts.judged("publication")
    domains = sorted(facts.domains() - set(judged["unpublished_domains"]))
    attribute_words = rules.AttributeRules(frozenset())._read["mode"].__self__._allowed  # type: ignore[attr-defined]
    return {
        "home_assistant": facts.version(),
        "domains": domains,
        "never_sent": sorted(judged["unpublished_domains"]),
        "numeric_domains": judged["numeric_domains"],
        "states": {domain: _words(domain) for domain in domains},
        "device_classes": {domain: classes for domain in domains if (classes := sorted(facts.device_classes(domain)))},
        "numeric_device_classes": sorted(facts.numeric_device_classes()),
        "state_classes": sorted(facts.table("device_classes")["state_classes"]),
        "units": sorted(facts.units()),
        "units_never_alone": judged["units_never_alone"],
        "attributes": judged["attributes"],
        "attribute_words": sorted(attribute_words),
        "steps_of_weather": judged["steps_of_weather"],
        "sun": judged["sun"],
        "id_words": sorted(rules.id_words()),
    }


def _words(domain: str) -> dict[str, list[str]]:
    """List the words that a state may be: under `_`, and under each device class that has others; `?` is an unknown class."""
    from smarthouse_api.states.records import rules
    from smarthouse_api.states.vocabulary import facts

    plain = sorted(rules.words_of(domain, None, frozenset()) - {""})
    told = {"_": plain}
    for device_class in ("?", *sorted(facts.device_classes(domain))):
        words = sorted(rules.words_of(domain, device_class, frozenset()) - {""})
        if words != plain:
            told[device_class] = words
    return told


def text() -> str:
    """Return the file's text."""
    return json.dumps(vocabulary(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
