"""Many dense problems of one size as one tensor."""
