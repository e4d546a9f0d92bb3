"""The pages around generations, and the images themselves."""

from django.urls import include, path

from generation import views

urlpatterns = [
    path("", views.home, name="home"),
    path("", include("generation.pages.urls")),
    path("media/<path:name>", views.media, name="media"),
]
