"""Data sets as streams of batches: .npz files, folders of images, Python functions."""
