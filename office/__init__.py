"""The back office: what staff see and do across the apps. It may import them all, and none of them imports it."""
