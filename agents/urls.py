"""The app's doors, collected by platform_site/urls_tenant.py."""

portal_urls: list = []
chat_urls: list = []
api_urls: list = []
