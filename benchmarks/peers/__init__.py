"""The same work in the peers' words. Their modules run in the peers' environment, as children."""
