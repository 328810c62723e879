"""The hosted chat page: HTML with the messages so far, and tickets for its socket."""

from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.http import JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from agents import assembly, joining, publishing
from agents.conversations import reading, recording, visitors
from tenants import lifecycle
from tenants.errors import TenantPaused

COOKIE_SECONDS = 180 * 24 * 3600
SUGGESTIONS = 4


def while_open(view: Callable) -> Callable:
    """While the tenant is paused, this view says so in the tenant's brand (503) and does nothing."""

    @wraps(view)
    def answer(request, *args, **kwargs):
        try:
            lifecycle.refuse_if_paused(request.tenant)
        except TenantPaused as error:
            closing = {"closing": lifecycle.is_closing(request.tenant)}
            response = render(request, "errors/paused.html", closing, status=error.status)
            response["Retry-After"] = str(error.details["retry_after"])
            return response
        return view(request, *args, **kwargs)

    return answer


@require_safe
@while_open
def page(request):
    """The conversation as it stands; readable without a script."""
    secret = request.COOKIES.get(settings.VISITOR_COOKIE) or visitors.new_secret()
    visitor = visitors.known_by(secret)
    conversation = reading.open_conversation(visitor)
    messages, more = reading.newest(conversation.pk) if conversation else ([], False)
    version = publishing.live_version()
    facts = joining.agent_facts()
    context = {
        "agent": {
            "name": version.name,
            "greeting": assembly.filled(version.greeting, version),
            "notice": version.notice,
            "demo": facts.demo,
            "keyword_search": facts.keyword_search,
        },
        "conversation_id": str(conversation.pk) if conversation else "",
        "messages": [message.model_dump(mode="json") for message in messages],
        "more": more,
        "seq": conversation.seq if conversation else 0,
        "state": conversation.state if conversation else "agent",
        "suggestions": version.suggestions[:SUGGESTIONS],
        "ticket": visitors.ticket_for(visitor),
        "ticket_url": "/chat/ticket/",
        "socket_path": "/ws/chat/",
        "csrf_token": get_token(request),
    }
    response = render(request, "chat/page.html", context)
    response.set_cookie(
        settings.VISITOR_COOKIE, secret, max_age=COOKIE_SECONDS, httponly=True, secure=settings.SECURE, samesite="Lax"
    )
    return response


@require_POST
@while_open
def ticket(request):
    """A new ticket, for a page that reconnects. 401 without the visitor's cookie."""
    secret = request.COOKIES.get(settings.VISITOR_COOKIE)
    if not secret:
        return JsonResponse({"code": "no_visitor", "text": "Please reload this page."}, status=401)
    return JsonResponse({"ticket": visitors.ticket_for(visitors.known_by(secret))})


@require_POST
@while_open
def new(request):
    """End what is open and begin anew."""
    if secret := request.COOKIES.get(settings.VISITOR_COOKIE):
        recording.close_conversations(visitors.known_by(secret))
    return redirect("chat:page")
