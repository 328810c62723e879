"""The app's doors, collected by platform_site/urls_tenant.py."""

from django.urls import path

from agents import api, chat, portal

portal_urls = [
    path("agents/", portal.agent_list, name="agents"),
    path("agents/<uuid:agent>/", portal.agent_page, name="agent"),
    path("agents/<uuid:agent>/test/", portal.trial, name="trial"),
    path("agents/<uuid:agent>/test/stop/", portal.stop_trial, name="stop_trial"),
    path("agents/<uuid:agent>/test/new/", portal.new_trial, name="new_trial"),
]
chat_urls = [
    path("", chat.page, name="page"),
    path("ticket/", chat.ticket, name="ticket"),
    path("new/", chat.new, name="new"),
]
api_urls = [
    path("conversations/", api.ConversationsView.as_view(), name="conversations"),
    path("conversations/<uuid:conversation>/messages/", api.MessagesView.as_view(), name="messages"),
]
