"""The addresses of the V3 dialect, each with and without a slash at its end; OpenAPI knows those without."""

from django.urls import path, re_path

from generation.v3 import views

ENDPOINTS = {
    "text2img": views.Text2ImgView,
    "img2img": views.Img2ImgView,
    "inpaint": views.InpaintView,
    "fetch": views.FetchByBodyView,
    "fetch/<pk>": views.FetchByPathView,
    "cancel": views.CancelByBodyView,
    "cancel/<pk>": views.CancelByPathView,
    "reproduce/<pk>": views.ReproduceView,
    "account": views.AccountView,
    "events": views.EventsView,
    "price": views.PriceView,
    "system_load": views.SystemLoadView,
}
urlpatterns = [
    *(path(address, view.as_view()) for address, view in ENDPOINTS.items()),
    *(path(f"{address}/", view.as_view(schema=None)) for address, view in ENDPOINTS.items()),
    re_path(r"", views.UnknownView.as_view()),
]
