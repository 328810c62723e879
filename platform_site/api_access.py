"""Who may call the REST door, and one shape of error. Apart from api.py, because the REST framework loads this module
while it loads its own views."""

import logging

from django.http import Http404
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.response import Response

from platform_site import outage
from platform_site.errors import PlatformError, TemporaryFailure
from tenants import lifecycle
from tenants.accounts import keys
from tenants.context import current

logger = logging.getLogger(__name__)


class KeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer atr_…``. The key must belong to the tenant of this host."""

    def authenticate(self, request):
        scheme, _, key = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        if request._request.user.is_authenticated:
            raise TwoIdentities
        return keys.check(key.strip()), key[:16]

    def authenticate_header(self, request):
        return 'Bearer realm="api"'


class StaffAuthentication(SessionAuthentication):
    """The portal's session, with CSRF protection."""


class TwoIdentities(PlatformError):
    """A key and a session in one request: refused, not "first wins"."""

    code, status, text = "two_identities", 401, "Send either an API key or a session, not both."


class MayCall(BasePermission):
    """A key needs the view's scope, a member of staff its right. A view that names neither is closed.

    While the tenant is paused, whoever may call may read only.
    """

    def has_permission(self, request, view):
        allowed = self._is_allowed(request.user, view, request.method)
        if allowed and request.method not in SAFE_METHODS:
            lifecycle.refuse_if_paused(current())
        return allowed

    def _is_allowed(self, caller, view, method: str) -> bool:
        if isinstance(caller, keys.Caller):
            return _named(view, "required_scope", method) in caller.scopes
        if caller is None or not caller.is_authenticated:
            return False
        return caller.may(_named(view, "required_right", method))


def _named(view, attribute: str, method: str) -> str:
    """A view may name one scope, or one per method."""
    named = getattr(view, attribute, "")
    return named.get(method, "") if isinstance(named, dict) else named


def exception_handler(error: Exception, context: dict) -> Response | None:
    """Every error as ``{"code", "text", …}`` with the right status."""
    if isinstance(error, PlatformError):
        return _answer(error.status, error.as_dict())
    if isinstance(error, Http404):
        return _answer(404, {"code": "not_found", "text": "This does not exist."})
    if isinstance(error, exceptions.ValidationError):
        return _answer(400, {"code": "bad_input", "text": "Some fields are not valid.", "fields": error.detail})
    if isinstance(error, RecursionError):
        return _answer(400, {"code": "bad_input", "text": "This JSON is nested too deeply."})
    if outage.is_outage(error):
        logger.error("a service is away", exc_info=error)
        return _answer(503, TemporaryFailure(retry_after=outage.RETRY_SECONDS).as_dict())
    if isinstance(error, exceptions.APIException):
        detail = {"code": error.get_codes(), "text": str(error.detail)}
        return _answer(error.status_code, detail, getattr(error, "auth_header", None), getattr(error, "wait", None))
    return None


def _answer(status: int, body: dict, auth_header: str | None = None, wait: float | None = None) -> Response:
    response = Response(body, status=status)
    if auth_header or status == 401:
        response["WWW-Authenticate"] = auth_header or 'Bearer realm="api"'
    retry = wait if wait is not None else body.get("retry_after")
    if retry is not None:
        response["Retry-After"] = str(max(1, round(retry)))
    return response


class KeyScheme(OpenApiAuthenticationExtension):
    """How the schema describes our keys."""

    target_class = KeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema):
        return {"type": "http", "scheme": "bearer", "bearerFormat": "atr_…"}


class StaffScheme(OpenApiAuthenticationExtension):
    """How the schema describes the portal's session."""

    target_class = StaffAuthentication
    name = "session"

    def get_security_definition(self, auto_schema):
        from django.conf import settings

        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
