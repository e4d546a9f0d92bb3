"""Who looks at a page and at which part of it, and which generations are theirs."""

from django.http import Http404, HttpRequest

from accounts.models import User
from generation import history
from generation.models import Generation


def account_of(request: HttpRequest) -> User:
    """Return who is logged in; the view's login_required has made sure that somebody is."""
    if not isinstance(request.user, User):
        raise Http404
    return request.user


def own_generation(request: HttpRequest, pk: int) -> Generation:
    """Return the visitor's generation; another account's does not exist.

    Raises:
        Http404
    """
    generation = history.own(account_of(request)).select_related("api_key").filter(pk=pk).first()
    if generation is None:
        raise Http404
    return generation


def wanted_part(request: HttpRequest) -> str:
    """Return the id of the element that a script asks for; empty for a whole page."""
    return request.headers.get("HX-Target", "") if request.headers.get("HX-Request") else ""
