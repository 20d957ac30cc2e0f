"""The server around the page: what it takes, keeps and refuses."""
