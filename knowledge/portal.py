"""Knowledge in the portal: documents on their way and ready, and what a question would find."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from knowledge import bases, documents, embedder, retrieval, storage
from knowledge.errors import StorageFull, VectorStoreDown
from knowledge.models import Document
from platform_site.portal import staff_page, typed

MOST_POLLED = 100  # rows that one page follows
MOST_FILES = 50  # in one form without script; the script sends one at a time


@staff_page(permission="knowledge.view")
@require_http_methods(["GET", "POST"])
def document_list(request: HttpRequest) -> HttpResponse:
    """The tenant's documents, the form that adds some, and the panel that tries a question."""
    if request.method == "POST":
        return _upload(request)
    search, question = typed(request.GET, "search", most=100), request.GET.get("question", "")
    before = _ids([request.GET.get("before", "")])
    found = documents.newest(documents.PAGE_SIZE + 1, search=search, before=before[0] if before else None)
    page = {
        **_rows(request, found[: documents.PAGE_SIZE]),
        "search": search,
        "is_first": not before,
        "next": found[documents.PAGE_SIZE - 1].pk if len(found) > documents.PAGE_SIZE else None,
        "storage": storage.standing(),
        "megabytes": settings.UPLOAD_BYTES // 1024**2,
        "keyword_only": not embedder.configured(),
        **(_tried(question) if question.strip() else {}),
    }
    return render(request, "portal/knowledge/document_list.html", page)


@staff_page(permission="knowledge.edit")
def _upload(request: HttpRequest) -> HttpResponse:
    """One request may bring many files; the script sends each in its own and gets its row back."""
    files = request.FILES.getlist("files")[:MOST_FILES]
    added, left_out = [], []
    for file in files:
        try:
            added.append(documents.add(file=file, name=file.name, by=request.user.email))
        except StorageFull as error:  # a smaller one may find room
            left_out.append(f"“{file.name}” was not added. {error}")
            if request.htmx:
                return HttpResponse(str(error), status=error.status, content_type="text/plain; charset=utf-8")
    if request.htmx:
        page = _rows(request, added[::-1]) | {"storage": storage.standing()}
        return render(request, "portal/knowledge/added.html", page)
    _say_what_came_of_it(request, added, left_out)
    return redirect("portal:documents")


def _say_what_came_of_it(request: HttpRequest, added: list[Document], left_out: list[str]) -> None:
    refused = [document for document in added if document.state == Document.State.FAILED]
    if left_out:
        messages.error(request, left_out[0])
        if len(left_out) > 1:
            messages.error(request, f"{len(left_out) - 1} more of these files found no room either.")
    if refused:
        messages.warning(request, f"{len(refused)} of {len(added)} files cannot be used. The list says why.")
    elif added:
        messages.success(request, "The document is being read." if len(added) == 1 else "The documents are being read.")
    elif not left_out:
        messages.error(request, "Choose at least one file.")


@staff_page(permission="knowledge.view")
@require_GET
def progress(request: HttpRequest) -> HttpResponse:
    """The rows that the page follows, as they are now. The page asks again while any document is on its way."""
    followed = documents.some(_ids(request.GET.getlist("open")[:MOST_POLLED]))
    return render(request, "portal/knowledge/progress.html", _rows(request, followed))


@staff_page(permission="knowledge.view")
@require_GET
def document_page(request: HttpRequest, document_id: UUID) -> HttpResponse:
    """One document: how far it is, and its passages."""
    document = documents.get(document_id)
    after = request.GET.get("after", "")
    found = documents.passages(
        document, limit=documents.PAGE_SIZE + 1, after=int(after) if after.isdecimal() and len(after) < 9 else -1
    )
    page = {
        **_rows(request, [document]),
        "document": document,
        "passages": found[: documents.PAGE_SIZE],
        "next": found[documents.PAGE_SIZE - 1].n if len(found) > documents.PAGE_SIZE else None,
    }
    return render(request, "portal/knowledge/document.html", page)


@staff_page(permission="knowledge.edit")
@require_POST
def retry(request: HttpRequest, document_id: UUID) -> HttpResponse:
    """Read a failed document again."""
    document = documents.retry(document_id)
    if request.htmx:
        return render(request, "portal/knowledge/progress.html", _rows(request, [document]))
    return redirect("portal:documents")


@staff_page(permission="knowledge.edit")
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, document_id: UUID) -> HttpResponse:
    """Asks first: as a page, or as the inside of the list's dialog."""
    document = documents.get(document_id)
    if request.method == "POST":
        documents.remove(document.pk, by=request.user.email)
        messages.success(request, f"“{document.title}” is removed.")
        return redirect("portal:documents")
    template = "portal/knowledge/remove_form.html" if request.htmx else "portal/knowledge/remove.html"
    return render(request, template, {"document": document})


@staff_page(permission="knowledge.view")
@require_GET
def try_question(request: HttpRequest) -> HttpResponse:
    """The passages that a question would find, for the panel."""
    return render(request, "portal/knowledge/tried.html", _tried(request.GET.get("question", "")))


def _tried(question: str) -> dict:
    tried = {"question": question.strip()[: retrieval.MOST_CHARACTERS]}
    if not tried["question"]:
        return tried
    try:
        return tried | {"found": retrieval.find(tried["question"], bases=[bases.ensure_default().pk])}
    except VectorStoreDown as error:
        return tried | {"problem": str(error)}


def _rows(request: HttpRequest, shown: list[Document]) -> dict:
    return {
        "documents": shown,
        "any_unfinished": documents.any_unfinished(),
        "may_edit": request.user.may("knowledge.edit"),
    }


def _ids(texts: list[str]) -> list[UUID]:
    """Those that are ids; others name nothing that we have."""
    ids = []
    for text in texts:
        try:
            ids.append(UUID(text))
        except ValueError:
            continue
    return ids
