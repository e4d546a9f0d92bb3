"""The addresses of the pages about generations."""

from django.urls import path

from generation.pages import generation, history, playground, usage

urlpatterns = [
    path("playground/", playground.page, name="playground"),
    path("playground/generations", playground.make, name="playground_make"),
    path("playground/price", playground.price, name="playground_price"),
    path("history/", history.page, name="history"),
    path("history/delete", history.delete, name="history_delete"),
    path("history/download", history.download, name="history_download"),
    path("history/<int:pk>/", generation.page, name="generation"),
    path("history/<int:pk>/state", generation.state, name="generation_state"),
    path("history/<int:pk>/events", generation.events, name="generation_events"),
    path("history/<int:pk>/code", generation.code, name="generation_code"),
    path("history/<int:pk>/cancel", generation.cancel, name="generation_cancel"),
    path("history/<int:pk>/again", generation.again, name="generation_again"),
    path("history/<int:pk>/delete", generation.delete, name="generation_delete"),
    path("history/<int:pk>/images/<int:k>.png", generation.image, name="generation_image"),
    path("history/<int:pk>/inputs/<str:name>", generation.input_image, name="generation_input"),
    path("usage/", usage.page, name="usage"),
    path("usage.csv", usage.csv_file, name="usage_csv"),
]
