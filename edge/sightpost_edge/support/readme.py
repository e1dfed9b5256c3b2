"""What the archive says of itself: what was taken out, and what was not."""

from collections.abc import Iterable
from textwrap import fill

from .. import __version__, clock
from ..doctor.host import Host

GOES = (
    "Replaced by [removed]: passwords, tokens and private keys; logins in addresses and the names "
    "of users there, of the broker's user, and in paths below /home; mail addresses; of "
    "[deployment] location, latitude, longitude, contact, setup_by and organization; names and "
    "passwords of wireless networks; hardware addresses."
)
STAYS = (
    "Stays in, so look whether you mind: the station's name, names and addresses of hosts, the "
    "labels of the model and how many events each had on which day, names of regions, the rest of "
    "[deployment] (id, project, species, height), versions, the log's other words."
)


def readme(host: Host, names: Iterable[str]) -> str:
    """README.txt of an archive with the files ``names``."""
    about = f"of the station {host.station}" if host.station else "of a machine"
    made = (
        f"A bug report {about}, made by sightpost {__version__} (sightpost support) at "
        f"{clock.iso(clock.to_ms(clock.now()))}."
    )
    begin = "Begin with doctor.json: what was found wrong."
    none = "No pictures, no models, no keys."
    return "\n\n".join([made, none, fill(GOES, 100), fill(STAYS, 100), begin, "\n".join(names)])
