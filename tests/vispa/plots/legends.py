"""What a legend covers, measured in pixels."""

import numpy as np

# Points a curve is looked at between two of its vertices.
STEPS = 50


def covered(axes):
    """Labels of the curves, bars and areas of which the axes' legend covers a point."""
    legend = axes.get_legend()
    if legend is None:
        return []
    axes.figure.canvas.draw()
    box = legend.get_window_extent().padded(-1)
    view = axes.get_window_extent()
    found = []
    for artist in (*axes.lines, *axes.patches, *axes.collections):
        for path, transform in outlines(artist):
            points = transform.transform(dense(path))
            points = points[(points >= view.min).all(axis=1) & (points <= view.max).all(axis=1)]
            if ((points >= box.min) & (points <= box.max)).all(axis=1).any():
                found.append(artist.get_label())
                break
    return found


def outlines(artist):
    if hasattr(artist, "get_paths"):
        return [(path, artist.get_transform()) for path in artist.get_paths()]
    return [(artist.get_path(), artist.get_transform())]


def dense(path):
    vertices = path.interpolated(STEPS).vertices if path.codes is None else polygon(path)
    return vertices[np.isfinite(vertices).all(axis=1)]


def polygon(path):
    from matplotlib.path import Path

    pieces = [Path(each).interpolated(STEPS).vertices for each in path.to_polygons(closed_only=False)]
    return np.concatenate(pieces) if pieces else np.empty((0, 2))
