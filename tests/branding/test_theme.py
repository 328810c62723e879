"""The stylesheet and the icon as browsers get them."""

from django.conf import settings
from django.test import Client

from branding import brands
from branding.models import Branding
from tenants.context import acting_for


def test_the_stylesheet_is_kept_for_a_year_under_its_revision_only(acme, client_of):
    browser = client_of(acme)
    with acting_for(acme):
        brand = brands.current()
    response = browser.get(brand.stylesheet_url)
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response["Content-Type"].startswith("text/css") and not response.cookies
    assert response.content.decode() == brand.theme.stylesheet()
    for other in ("/theme.css", "/theme.css?v=0", "/theme.css?v=x", "/theme.css?v=²", f"/theme.css?v={'9' * 5000}"):
        assert browser.get(other)["Cache-Control"] == "public, no-cache", other


def test_an_unchanged_stylesheet_is_not_sent_again(acme, client_of):
    browser = client_of(acme)
    tag = browser.get("/theme.css")["ETag"]
    again = browser.get("/theme.css", headers={"if-none-match": tag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)


def test_a_page_of_another_process_that_knows_a_newer_revision_is_believed(acme, client_of):
    browser = client_of(acme)
    browser.get("/theme.css")
    with acting_for(acme):
        Branding.objects.update(colour="#123456", revision=2)
    response = browser.get("/theme.css?v=2")
    assert "--brand: #123456" in response.content.decode()
    assert "immutable" in response["Cache-Control"]


def test_each_host_has_its_own_and_the_platform_none(acme, globex, client_of):
    with acting_for(acme):
        Branding.objects.update(colour="#abcdef", name="<Ärzte>")
    assert "#abcdef" in client_of(acme).get("/theme.css").content.decode()
    assert "#abcdef" not in client_of(globex).get("/theme.css").content.decode()
    assert Client(headers={"host": settings.PLATFORM_HOST}).get("/theme.css").status_code == 404
    icon = client_of(acme).get("/icon.svg").content.decode()
    assert ">&lt;<" in icon and "#abcdef" in icon
