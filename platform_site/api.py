"""The shared half of the REST door: the base of every view, and who is calling."""

from rest_framework.views import APIView

from platform_site import api_rate
from tenants.accounts import keys


class ApiView(APIView):
    """Base of our views: set ``required_scope`` for keys and ``required_right`` for staff, or a dict by method."""

    required_scope: str | dict[str, str] = ""
    required_right: str | dict[str, str] = ""

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        if counts := getattr(request._request, "rate", None):
            for name, value in api_rate.headers(counts).items():
                response[name] = value
        return response


def caller_name(request) -> str:
    """Who to write into a row: the key's name or the person's address."""
    caller = request.user
    return f"API key {caller.name}" if isinstance(caller, keys.Caller) else caller.email
