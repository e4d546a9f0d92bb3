"""The pages around generations, and the images themselves."""

from django.urls import path

from generation import views

urlpatterns = [
    path("", views.home, name="home"),
    path("media/<path:name>", views.media, name="media"),
]
