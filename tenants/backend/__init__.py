"""Atrium's database backend: django-tenants' own, made to obey tenants.context (see base.py)."""
