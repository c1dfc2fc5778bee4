"""LAMBO outside its laboratory: graphs for other runtimes, and smaller networks."""
