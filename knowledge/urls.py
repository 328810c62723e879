"""The app's doors, collected by platform_site/urls_tenant.py."""

from django.urls import path

from knowledge import api, portal

portal_urls = [
    path("knowledge/", portal.document_list, name="documents"),
    path("knowledge/progress/", portal.progress, name="document_progress"),
    path("knowledge/try/", portal.try_question, name="try_question"),
    path("knowledge/<uuid:document_id>/", portal.document_page, name="document"),
    path("knowledge/<uuid:document_id>/retry/", portal.retry, name="retry_document"),
    path("knowledge/<uuid:document_id>/remove/", portal.remove, name="remove_document"),
]
api_urls = [
    path("documents/", api.DocumentList.as_view(), name="documents"),
    path("documents/<uuid:document_id>/", api.DocumentDetail.as_view(), name="document"),
]
