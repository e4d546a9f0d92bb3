"""The addresses of the V3 dialect, each with and without a slash at its end."""

from django.urls import re_path

from generation.v3 import views

urlpatterns = [
    re_path(r"^text2img/?$", views.Text2ImgView.as_view()),
    re_path(r"^img2img/?$", views.Img2ImgView.as_view()),
    re_path(r"^inpaint/?$", views.InpaintView.as_view()),
    re_path(r"^fetch/?$", views.FetchView.as_view()),
    re_path(r"^fetch/(?P<pk>[^/]+)/?$", views.FetchView.as_view()),
    re_path(r"^system_load/?$", views.SystemLoadView.as_view()),
    re_path(r"", views.UnknownView.as_view()),
]
