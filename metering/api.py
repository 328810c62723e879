"""Usage for programs."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from metering import usage
from platform_site.api import ApiView


class PeriodSerializer(serializers.Serializer):
    """The span of time; ``end`` is not in it."""

    name = serializers.ChoiceField(["today", "month"])
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    time_zone = serializers.CharField()


class TotalsSerializer(serializers.Serializer):
    """Sums over all uses. Cached tokens are part of the input tokens."""

    uses = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    cost = serializers.DecimalField(max_digits=20, decimal_places=8, help_text="US dollars")


class ModelTotalsSerializer(TotalsSerializer):
    """The same for one model."""

    model = serializers.CharField()


class UsageSerializer(serializers.Serializer):
    """What the tenant has used in a period."""

    period = PeriodSerializer()
    totals = TotalsSerializer()
    by_model = ModelTotalsSerializer(many=True)


class UsageView(ApiView):
    """The tenant's use of models, some seconds behind at most."""

    required_scope = "usage:read"
    required_right = "usage.view"

    @extend_schema(
        operation_id="read_usage",
        tags=["usage"],
        parameters=[OpenApiParameter("period", str, enum=["today", "month"], default="month")],
        responses=UsageSerializer,
    )
    def get(self, request):
        """Totals of today or this month, in the tenant's time zone."""
        span = usage.period(request.query_params.get("period", "month"))
        models = usage.by_model(span)
        answer = {"period": span, "totals": usage.total(models), "by_model": models}
        return Response(UsageSerializer(answer).data)
