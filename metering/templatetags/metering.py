"""Numbers as people read them."""

from decimal import Decimal

from django import template

register = template.Library()


@register.filter
def thousands(number: int) -> str:
    """1234567 as 1,234,567"""
    return f"{number:,}"


@register.filter
def dollars(amount: Decimal) -> str:
    """US dollars; small amounts with as many places as it takes to see them."""
    if amount == 0:
        return "$0"
    if amount >= 1:
        return f"${amount:,.2f}"
    return "under $0.0001" if amount < Decimal("0.0001") else f"${amount:.4f}"
