"""Documents of the three demo tenants: what their agents know. `make.py` makes the PDF and Word files."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent

# By the tenant's slug, the one to upload first in front.
DOCUMENTS: dict[str, list[Path]] = {
    "sunrise": [
        _HERE / "sunrise/patient-handbook.pdf",
        _HERE / "sunrise/opening-hours-and-prices.md",
        _HERE / "sunrise/preparing-for-a-blood-test.docx",
    ],
    "keystone": [
        _HERE / "keystone/tenancy-guide.pdf",
        _HERE / "keystone/viewing-policy.html",
        _HERE / "keystone/fees.md",
    ],
    "byteworks": [
        _HERE / "byteworks/vpn-and-password-guide.pdf",
        _HERE / "byteworks/printer-howto.docx",
        _HERE / "byteworks/service-levels.md",
    ],
}
