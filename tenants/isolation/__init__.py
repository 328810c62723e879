"""Proves, for one tenant, that nothing leads to another: by trying it against a synthetic tenant.

`checking.check` runs every attempt of this package and of the apps (`registry.register_prober`), and stores the result.
"""
