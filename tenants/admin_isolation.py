"""Operators' pages on isolation checks: each result with every attempt, and the checks that are under way."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html

from platform_site.admin_pages import ReadOnlyAdmin, lines, pill
from tenants.isolation import runs
from tenants.isolation.attempts import REFUSED
from tenants.models import IsolationCheck


@admin.register(IsolationCheck)
class IsolationCheckAdmin(ReadOnlyAdmin):
    """Results of trying to get from one tenant to another, each with every attempt, for operators and auditors."""

    list_display = ["at", "tenant", "result", "seconds"]
    list_display_links = ["at"]
    list_select_related = ["tenant"]
    list_filter = ["ok", "at"]
    search_fields = ["tenant__name"]
    ordering = ["-at"]
    fields = ["at", "tenant", "result", "seconds", "file", "every_attempt"]

    def get_urls(self):
        download = self.admin_site.admin_view(self.download)
        run, progress = self.admin_site.admin_view(self.run), self.admin_site.admin_view(self.run_progress)
        return [
            path("<uuid:pk>/download/", download, name="tenants_isolationcheck_download"),
            path("run/<uuid:run>/", run, name="tenants_isolationcheck_run"),
            path("run/<uuid:run>/progress/", progress, name="tenants_isolationcheck_run_progress"),
            *super().get_urls(),
        ]

    def get_queryset(self, request):
        rows = super().get_queryset(request)
        return rows.defer("attempts") if request.resolver_match.url_name.endswith("_changelist") else rows

    def run(self, request, run):
        """Checks that were asked for, while workers make them and afterwards."""
        context = {
            **self.admin_site.each_context(request), "title": "Checking isolation", "opts": self.opts, "run": run,
            **self._far(request, run),
        }  # fmt: skip
        return TemplateResponse(request, "admin/isolation_run.html", context)

    def run_progress(self, request, run):
        """The same as JSON, for the page that asks again each second."""
        far = self._far(request, run)
        words = [f"{line.tenant.name}: {line.result.verdict}." for line in far["lines"] if line.result]
        return JsonResponse(
            {
                "html": render_to_string("admin/inc/isolation_progress.html", far, request),
                "said": "" if far["live"] else " ".join(["All checks have ended.", *words]),
                "live": far["live"],
                "actions": [],
            }
        )

    def _far(self, request, run) -> dict:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = runs.lines(run)
        done = sum(line.state in (runs.DONE, runs.FAILED) for line in found)
        return {"lines": found, "done": done, "live": done < len(found)}

    def download(self, request, pk):
        """One result as a JSON file."""
        found = self.get_object(request, str(pk))
        if found is None:
            raise Http404
        name = f"isolation-{found.tenant.slug}-{found.at:%Y-%m-%d-%H%M}.json"
        return JsonResponse(
            found.as_dict(found.tenant.slug),
            json_dumps_params={"indent": 2},
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @admin.display(description="Result", ordering="ok")
    def result(self, check):
        """As a pill, with how much leaked."""
        return pill(check.verdict, {"Sound": "ok", "Leaked": "bad"}.get(check.verdict, "warn"))

    @admin.display(description="For an auditor")
    def file(self, check):
        """The same as a file."""
        page = reverse("admin:tenants_isolationcheck_download", args=[check.pk])
        return format_html('<a href="{}">Download as JSON</a>', page)

    @admin.display(description="Attempts")
    def every_attempt(self, check):
        """What was tried, and what became of it; what was not refused comes first."""
        attempts = sorted(check.attempts, key=lambda attempt: attempt["outcome"] == REFUSED)
        return lines([" ".join(_sentence(attempt)) for attempt in attempts])


def _sentence(attempt: dict) -> list[str]:
    way = f"({attempt['code']}, by {attempt['by']} against {attempt['against']})"
    return [f"{attempt['outcome'].capitalize()}:", attempt["text"], way, attempt["detail"]]
