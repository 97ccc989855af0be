"""Pages of administrators about people and where they are: invitations, who is shut out, regions and their terms of pay."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response

from dashboards.annotation import forms
from dashboards.annotation.visit import Missing, Visit
from store import annotation_people, annotation_work
from store.annotation import ROLES
from tasks.annotation import calibration, money, results, sign_in, terms
from tasks.annotation.unfit import Unfit


def people(visit: Visit, link: str = "", reset_link: str = "", refused: ValueError | None = None) -> Response:
    everybody = visit.read(annotation_people.everybody)
    regions = visit.read(lambda c: terms.of_regions(c, visit.now))
    stages, own = visit.read(annotation_work.all_qualifications), visit.read(annotation_work.consistency)
    invitations = visit.read(lambda c: annotation_people.open_invitations(c, visit.now))
    shown = {"people": everybody, "regions": regions, "roles": ROLES, "stages": stages, "invitations": invitations}
    shown |= {"consistency": own, "link": link, "reset_link": reset_link, "told": visit.told if refused else {}}
    shown |= {"monday": results.bounds(results.week(visit.now))[1]}
    return visit.refuse("people.html", refused, **shown) if refused else visit.page("people.html", **shown)


def invites(visit: Visit) -> Response:
    role, region = str(visit.told.get("role", "")), str(visit.told.get("region", ""))
    try:
        token = visit.write(lambda c: sign_in.invite(c, visit.by, role, region, visit.now))
    except ValueError as error:
        return people(visit, refused=Unfit("region" if role in ROLES else "role", str(error)))
    return people(visit, link=f"{visit.site.address}/join/{token}")


def changes_person(visit: Visit) -> Response:
    """Shuts a person out, or lets him in again; whoever is shut out is signed out at once."""
    person_id = visit.request.path_params["person_id"]
    if visit.read(lambda c: annotation_people.person(c, person_id=person_id)) is None:
        raise Missing
    if person_id == visit.by:
        raise ValueError("nobody shuts himself out; ask another administrator")
    active = visit.told.get("active") == "yes"

    def change(c: Any) -> None:
        annotation_people.update_person(c, person_id, active=active)
        annotation_people.log(c, visit.now, visit.by, "let_in" if active else "shut_out", f"person {person_id}")
        if not active:
            annotation_people.end_sessions(c, visit.now, person_id=person_id)

    visit.write(change)
    return visit.go("/people")


def reinstates(visit: Visit) -> Response:
    """Makes a paused or banned person qualified again, by an administrator's word; what was scored before counts no more."""
    person_id, schema_id = (visit.request.path_params[k] for k in ("person_id", "schema_id"))

    def change(c: Any) -> None:
        had = annotation_work.qualification(c, person_id, schema_id)
        if had is None:
            raise Missing
        told = {"stage": calibration.QUALIFIED, "why": "reinstated", "failures": 0, "changed_at": visit.now}
        annotation_work.put_qualification(c, person_id, schema_id, round=had["round"], **told)
        annotation_people.log(c, visit.now, visit.by, "reinstate", f"person {person_id}", schema=schema_id)

    visit.write(change)
    return visit.go("/people")


def puts_region(visit: Visit) -> Response:
    try:
        told = _region(visit.told)
        visit.write(lambda c: terms.put(c, visit.by, told, visit.now))
    except ValueError as error:
        return people(visit, refused=error)
    return visit.go("/people")


def _region(told: Any) -> dict[str, Any]:
    """Raises Unfit for an entry that is no name, currency, amount, rate or address."""
    name, host = forms.text(told, "name"), forms.text(told, "media_host").rstrip("/")
    if not name:
        raise Unfit("name", "a region needs a name")
    try:
        currency = money.checked(forms.text(told, "currency"))
    except ValueError as error:
        raise Unfit("currency", str(error)) from None
    if host and not host.startswith(("https://", "http://")):
        raise Unfit("media_host", f"media host {host!r}: an address as https://media.example.org, or nothing")
    rate = float(forms.decimal(told, "rate"))
    if rate <= 0:
        raise Unfit("rate", "a region's rate is above 0: its currency for one of a batch's price")
    floor = forms.minor(told, "floor", currency)
    return {"name": name, "currency": currency, "hourly_floor_minor": floor, "rate": rate, "media_host": host}
