"""The license field of a model card, as the hub takes it (huggingface.co/docs/hub/repositories-licenses)."""

import re

from lmkit.errors import UserError

_NAMES = """
afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0
cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0
cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2
fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 grok2-community h-research intel-research isc lgpl
lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by
ofl-1.1 openmdw-1.0 openrail openrail++ osl-3.0 pddl postgresql unknown unlicense wtfpl zlib
"""

KNOWN = frozenset(_NAMES.split())
"""What the hub knows by name; a card with any other word in the field is refused there."""


def license_fields(license: str | None) -> dict[str, str]:
    """The fields of a card's front matter: none without a license, and `other` with a name where the hub has none.

    Args:
        license: such as `apache-2.0`, in any case, or the name of one that the hub does not know.

    Raises:
        UserError: it is no name.
    """
    if license is None:
        return {}
    name = license.strip().lower()
    if name in KNOWN:
        return {"license": name}
    slug = re.sub(r"[^a-z0-9.]+", "-", name).strip("-.")
    if slug in {"", "other"}:
        raise UserError(f"the license is {license!r}: give its name, such as apache-2.0, or leave it out")
    return {"license": "other", "license_name": slug}
